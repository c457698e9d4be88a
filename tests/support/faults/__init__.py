"""What the fault suite works with: steps that bear witness, faults to inject, and what must hold whatever happens."""
