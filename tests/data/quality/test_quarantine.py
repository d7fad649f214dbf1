import numpy as np
import pandas as pd
import pyarrow as pa

from chromaflow.data.quality.expectations import Rule
from chromaflow.data.quality.quarantine import Quarantine
from chromaflow.data.snapshot.manifest import SCHEMA
from tests.support.manifests import rows


def test_every_rule_adds_its_reason() -> None:
    quarantine = Quarantine(pa.Table.from_pylist(rows(5), schema=SCHEMA))
    facts = pd.DataFrame({"side": [1.0, 2.0, 3.0, 4.0, 5.0], "copy_of": [np.nan] * 4 + [0.0]})
    quarantine.refuse_failed(Rule("side", None, "side {side:.0f}"), np.array([1, 4]), facts)
    quarantine.refuse_failed(Rule("unique", None, "copy of {copy_of}"), np.array([4]), facts)
    quarantine.refuse_failed(Rule("never", None, "{error}"), np.array([], np.int64), facts)
    quarantine.refuse_failed(Rule("fixed", None, "no license"), np.array([3]), facts)
    assert quarantine.counts == {"side": 2, "unique": 1, "fixed": 1}
    found = quarantine.rejected().select(["id", "rules", "reasons"]).to_pylist()
    assert found == [
        {"id": f"{2:016x}", "rules": ["side"], "reasons": ["side 2"]},
        {"id": f"{4:016x}", "rules": ["fixed"], "reasons": ["no license"]},
        {
            "id": f"{5:016x}",
            "rules": ["side", "unique"],
            "reasons": ["side 5", f"copy of {1:016x}"],
        },
    ]


def test_nothing_refused_is_an_empty_table_of_the_same_columns() -> None:
    found = Quarantine(pa.Table.from_pylist(rows(2), schema=SCHEMA)).rejected()
    assert len(found) == 0
    assert found.column_names == [*SCHEMA.names, "reasons", "rules"]
