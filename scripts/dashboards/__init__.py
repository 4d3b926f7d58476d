"""The Grafana dashboards, declared once as data and written for each query language.

pages/ says what is shown, model.py in which words; the languages turn a query into text,
looks.py a panel into Grafana's JSON, render.py a page into a dashboard.
"""
