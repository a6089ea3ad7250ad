//! Laws of `decide::balance`.
