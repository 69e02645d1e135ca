"""Inference code of the wine example: named measures in, the name of the grower out."""

import json
import os

import numpy as np
from model_service.python_model_service import XgSklServingBaseService

from .measures import features


class WineService(XgSklServingBaseService):
    """Loading and predicting stay with the base class; only the two translations are here."""

    def _preprocess(self, data):
        """`{"data": {"req_data": [{measure: number or null, …}]}}` → one row of features for each wine."""
        if isinstance(data, (str, bytes)):
            data = json.loads(data)
        return np.array([features(record) for record in data["data"]["req_data"]])

    def _postprocess(self, data):
        """Class numbers → `{"data": {"resp_data": [{"predict_result": "grower A"}]}}`."""
        with open(os.path.join(os.path.dirname(self.model_path), "growers.json"), encoding="utf-8") as file:
            growers = json.load(file)
        return {"data": {"resp_data": [{"predict_result": growers[int(number)]} for number in data]}}
