"""What annotators should look at: which task next, and which labels again."""
