"""Compilation of a model's parts for the length of a training."""

import pytest
import torch
from tiny import image_model

from polarlight.train.fuse import FUSED, can_compile, fused

# the compiler's own import of torch.jit
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")


def replaced(model: torch.nn.Module) -> list[torch.nn.Module]:
    return [module for module in model.modules() if "forward" in vars(module)]


@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
def test_parts_are_compiled_inside_and_as_they_were_outside() -> None:
    model = image_model()
    names = list(model.state_dict())
    with fused(model):
        inside = replaced(model)
        assert inside
        assert all(isinstance(module, FUSED) for module in inside)
        assert list(model.state_dict()) == names
    assert not replaced(model)


@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
def test_only_the_outermost_parts_are_compiled() -> None:
    model = image_model()
    with fused(model):
        inside = replaced(model)
        within = {id(child) for module in inside for child in module.modules() if child is not module}
        assert not within & {id(module) for module in inside}


def test_without_a_compiler_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = image_model()
    with fused(model):
        assert not replaced(model)


@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
def test_an_error_inside_leaves_the_model_as_it_was() -> None:
    model = image_model()
    with pytest.raises(RuntimeError, match="stop"), fused(model):
        raise RuntimeError("stop")
    assert not replaced(model)
