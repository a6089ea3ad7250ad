//! Grants and refusals of the CORS policy.
