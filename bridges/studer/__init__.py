"""Bridge to Studer's Xtender, VarioTrack, VarioString and batteries behind an Xcom gateway."""
