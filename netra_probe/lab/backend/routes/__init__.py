"""REST routes: thin; each calls a component for the caller it was given."""
