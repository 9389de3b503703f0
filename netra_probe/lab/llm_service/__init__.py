"""The lab's language model: OpenAI-compatible, deterministic, and echoing all it was given.

Because the completion repeats the whole context, anything that should not have been in the context is visible in the
answer. Nothing is cut off and nothing is made up.
"""
