"""Masks: labels as stored, colours of labels, evidence of damage, remapped masks."""
