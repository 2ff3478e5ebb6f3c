"""The pages of Audience, one file a noun."""
