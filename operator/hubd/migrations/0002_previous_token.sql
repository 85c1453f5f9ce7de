-- A rotated token counts until its successor is used: whoever asked for that may never have heard of it.

ALTER TABLE agents ADD COLUMN previous_token_hash TEXT;
