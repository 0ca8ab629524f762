"""Custom audiences: what is taken, counted, refused."""

import json
import unittest

from sandbox_client import TOKEN, SandboxTest, remove_certificates, sha256

ANN = sha256("ann@example.com")
BEN = sha256("ben@example.com")


def tearDownModule():
    remove_certificates()


class Audiences(SandboxTest):
    arguments = ("--audience", "7")

    def change(self, rows=None, method="POST", list_id="7", schema=None,
               session=None, **more):
        body = {"payload": {"schema": schema or ["EMAIL"],
                            "data": [[ANN]] if rows is None else rows}}
        if session is not None:
            body["session"] = session
        body.update(more)
        status, _, answer = self.raw(
            json.dumps(body).encode(),
            {"Authorization": "Bearer " + TOKEN,
             "Content-Type": "application/json"},
            "/v25.0/%s/users" % list_id, method)
        return status, json.loads(answer)

    def taken(self, *arguments, **how):
        status, answer = self.change(*arguments, **how)
        self.assertEqual(status, 200, answer)
        return answer["num_received"], answer["num_invalid_entries"]

    def fails(self, code, *arguments, **how):
        status, answer = self.change(*arguments, **how)
        self.assertEqual((status, answer.get("error", {}).get("code")),
                         (400, code), answer)

    def members(self):
        lists = self.control("GET", "audiences")["audiences"]
        return lists["7"]["members"] if "7" in lists else 0

    def test_added_and_removed_once(self):
        self.assertEqual(self.taken([[ANN], [BEN]]), (2, 0))
        self.assertEqual(self.taken([[ANN]]), (1, 0))
        self.assertEqual(self.members(), 2)
        self.taken([[ANN]], method="DELETE")
        self.taken([[ANN]], method="DELETE")
        self.assertEqual(self.members(), 1)

    def test_bad_rows_are_counted(self):
        rows = [[ANN], ["ann@example.com"], [ANN.upper()], [""], [ANN[:63]]]
        self.assertEqual(self.taken(rows), (5, 4))
        self.assertEqual(self.members(), 1)

    def test_schema(self):
        self.assertEqual(self.taken([[ANN, ""]], schema=["EMAIL", "ZIP"]),
                         (1, 0))
        self.fails(100, schema=["MAIL"])
        self.fails(100, schema=["EMAIL", "EMAIL"], rows=[[ANN, ANN]])
        self.fails(100, rows=[[ANN, ANN]])
        self.fails(100, rows=[[1]])
        self.fails(100, rows=[])
        self.fails(100, rows=[[ANN]] * 10001)
        self.fails(100, surprise=1)

    def test_sessions(self):
        def session(seq, last=False, number=5):
            return {"session_id": number, "batch_seq": seq,
                    "last_batch_flag": last}
        self.fails(2650, session=session(2))
        self.taken(session=session(1))
        self.taken(session=session(1))
        self.fails(2650, session=session(3))
        self.fails(2650, session=session(2), method="DELETE")
        self.taken(session=session(2, last=True))
        self.taken(session=session(2, last=True))
        self.fails(2650, session=session(3))
        self.taken(session=session(1, number=7))
        self.fails(2650, session=session(1, number=7), rows=[[BEN]])
        self.fails(100, session=session(0, number=6))
        self.fails(100, session=session(1, number=0))
        self.fails(100, session={"session_id": 8, "batch_seq": 1})
        self.fails(100, session=dict(session(1, number=9), more=1))

    def test_which_list(self):
        self.fails(100, list_id="8")
        self.fails(803, list_id="list")
        status, answer = self.change(method="PUT")
        self.assertEqual((status, answer["error"]["code"]), (400, 100))


if __name__ == "__main__":
    unittest.main()
