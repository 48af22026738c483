// Joins the actions to the host. Only the build reads this file; tests read the actions.
import { send } from 'portcullis:connector/outbound-http@0.1.0';
import { log } from 'portcullis:connector/log@0.1.0';
import { connect, handlerOf } from '../portcullis/module.js';
import { actions } from './actions.js';

connect({ send, log });
export const handler = handlerOf(actions);
