"""
The demo: the gallery as a newcomer would run it, with real photographs uploaded through real HTTP.

``script/demo`` runs this package. It knows the site only from outside, as a browser and an operator do, and uses no
Django.
"""
