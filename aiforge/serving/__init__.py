"""Models in use: on an Ollama server, or by llama.cpp in the platform itself."""
