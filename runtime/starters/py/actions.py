"""{{name}}: finds a contact by its email address, or creates it."""

from portcullis import requests
from portcullis.module import Call, find_or_create, log

CONTACTS = "https://api.example.com/v1/contacts"


def find_or_create_contact(call: Call, data: dict) -> dict:
    def find():
        answer = requests.get(CONTACTS, params={"email": data["email"]}, credential="default")
        answer.raise_for_status()
        items = answer.json()["items"]
        return items[0] if items else None

    def create():
        answer = requests.post(CONTACTS, json=data, credential="default")
        answer.raise_for_status()
        return answer.json()

    contact, created = find_or_create(find, create)
    log.info(f"the contact is {'new' if created else 'known'}")
    return {"id": contact["id"], "created": created}


ACTIONS = {"find-or-create-contact": find_or_create_contact}
