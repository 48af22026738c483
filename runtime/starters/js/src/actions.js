// {{name}}: finds a contact by its email address, or creates it.
import { fetch, findOrCreate, log } from '../portcullis/module.js';

const CONTACTS = 'https://api.example.com/v1/contacts';

async function find(email) {
  const answer = await fetch(`${CONTACTS}?email=${encodeURIComponent(email)}`, { credential: 'default' });
  return answer.check().json().items[0];
}

async function create(input) {
  const answer = await fetch(CONTACTS, { method: 'POST', credential: 'default', json: input });
  return answer.check().json();
}

async function findOrCreateContact(input) {
  const { thing, created } = await findOrCreate(() => find(input.email), () => create(input));
  log.info(`the contact is ${created ? 'new' : 'known'}`);
  return { id: thing.id, created };
}

export const actions = { 'find-or-create-contact': findOrCreateContact };
