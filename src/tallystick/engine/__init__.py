"""③ The only writer of money: receive → fetch → decide → seal and journal → answer.

Start reading at `loop.EngineLoop.step`, then `deciding.Decider.decide`.
"""
