//! The access log from outside: what lands in its target, and what happens when that does not take it.
