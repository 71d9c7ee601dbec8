"""Microsoft Presidio's analyzer, as a service on a free port: what `POST /analyze` of its container does.

The package holds the engine and the request's class; the few lines of HTTP around them come with the container alone.
No model of a language is loaded: the tokens are those of a blank pipeline, and whom it takes for a person stands below.
So nothing is downloaded, and what is found is Presidio's own word all the same. Prints its URL and serves until it ends.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import spacy
from presidio_analyzer import AnalyzerEngine, PatternRecognizer, RecognizerRegistry
from presidio_analyzer.analyzer_request import AnalyzerRequest
from presidio_analyzer.nlp_engine import SpacyNlpEngine

LANGUAGE = "en"
PEOPLE = ["Ada Lovelace", "Grace Hopper", "Gödel"]


class Blank(SpacyNlpEngine):
    """Words, and nothing that was learned."""

    def load(self) -> None:
        self.nlp = {LANGUAGE: spacy.blank(LANGUAGE)}


def engine() -> AnalyzerEngine:
    registry = RecognizerRegistry(supported_languages=[LANGUAGE])
    registry.load_predefined_recognizers(languages=[LANGUAGE])
    registry.add_recognizer(PatternRecognizer(supported_entity="PERSON", deny_list=PEOPLE, name="people"))
    nlp = Blank(models=[{"lang_code": LANGUAGE, "model_name": "blank"}])
    nlp.load()
    return AnalyzerEngine(nlp_engine=nlp, registry=registry, supported_languages=[LANGUAGE])


ENGINE = engine()


class Handler(BaseHTTPRequestHandler):
    """One question, one answer."""

    def do_POST(self) -> None:
        asked = AnalyzerRequest(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        found = ENGINE.analyze(
            text=asked.text,
            language=asked.language,
            entities=asked.entities,
            score_threshold=asked.score_threshold,
        )
        answer = json.dumps([one.to_dict() for one in found], default=str).encode()
        self.send_response(200 if self.path == "/analyze" else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Says nothing: what it was asked is somebody's text."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
