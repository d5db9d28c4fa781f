"""What results say: phases, means over seeds, findings, advice, tables."""
