//! Who is known: API keys, accounts, revoked tokens, sessions and bans, in one SQLite file.
