"""The REST API: parse, call a step, answer. webapp/urls.py says what answers where."""
