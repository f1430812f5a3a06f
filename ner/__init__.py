"""What an annotation is: documents, words, tags, scores, versions. Standard library only."""
