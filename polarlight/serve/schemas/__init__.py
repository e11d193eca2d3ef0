"""What goes over the wire, both dialects in one: fields that only one of them has are optional."""
