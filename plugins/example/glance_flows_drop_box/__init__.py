"""An import method that picks up image data from a directory on the host."""
