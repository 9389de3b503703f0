"""Twenty questions to ask agents, and which specialist answers each."""

from __future__ import annotations

from dataclasses import dataclass

COST, PERFORMANCE, GENERAL = "cost_specialist", "performance_specialist", "general_specialist"


@dataclass(frozen=True, kw_only=True)
class SeedPrompt:
    """One question; `answered_by` is the agent that triage hands it to."""

    text: str
    answered_by: str


PROMPTS: tuple[SeedPrompt, ...] = tuple(
    SeedPrompt(text=text, answered_by=specialist)
    for specialist, texts in {
        COST: (
            "Where do I overspend?",
            "Which of my services has the worst price for what it does?",
            "Cut my monthly bill by a fifth without touching inference.",
            "What did vector search cost me, and is that too much?",
            "Compare my spend on training with my spend on inference.",
            "Which savings would caching bring me?",
            "Draft a budget for next quarter from my own figures.",
        ),
        PERFORMANCE: (
            "Why is my inference slow in the evening?",
            "Bring the latency of my chat model under half a second.",
            "What limits the throughput of my batch jobs?",
            "Which of my workloads would run fast on smaller machines?",
            "Find the performance bottleneck of my retrieval pipeline.",
            "Does a larger batch raise throughput or only latency?",
            "At which speed does my training pay off?",
        ),
        GENERAL: (
            "Summarise what you know about my workloads.",
            "What should I look at first this week?",
            "Explain my last recommendation to a manager.",
            "Which model family fits my data?",
            "List the risks of moving my training elsewhere.",
            "What did I ask you before?",
        ),
    }.items()
    for text in texts
)
