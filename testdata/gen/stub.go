package main

func writeAdmission(w *writer) {}
func writeMessages(w *writer) {}
