"""Words that no log may have, and what makes the server of `serve_talkative` fail."""

TEXT, USERNAME, PASSWORD = "PatientJohnDoe", "NurseMary", "Swordfish"
SECRET, KEY, TOKEN = "OpenSesame", "k3yOfLabelStudio", "t0kenInAddress"
MARKERS = (TEXT, USERNAME, PASSWORD, SECRET, KEY, TOKEN)
FAILING_TEXT, FAILING_ROUTE, DAMAGED_VERSION = "explode", "/llm/versions", "damaged"
