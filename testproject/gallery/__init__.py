"""A photo gallery that leaves its slow work to background jobs."""
