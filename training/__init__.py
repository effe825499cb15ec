"""The companion trainer: it reads shards, and starts with torch, numpy, pyarrow, safetensors and PyYAML alone."""
