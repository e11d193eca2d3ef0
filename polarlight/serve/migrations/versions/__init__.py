"""One file for each step of the schema, in order. A released step is never changed: a new one follows it."""
