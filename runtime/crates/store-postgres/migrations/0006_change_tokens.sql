-- Random bytes of the transaction that made a commit, which its seal covers as well. The same number and the same changes
-- may come twice, when a server that takes over did not have the first commit: these bytes do not. Commits before this
-- have none.
ALTER TABLE change_log ADD COLUMN token bytea;
