import type { UpstreamId } from '../../model/upstream.ts';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import { isObject, objectIn, textIn } from '../../runtime/json.ts';
import { assertUpstreamId, type DataPlaneReader } from '../driver.ts';
import { type ControlClient, foreignWords } from './control-client.ts';
import { workerForm } from './worker-form.ts';

const GET_TIMEOUT_MS = 2000;
/** By source, a worker copies all that it has before it answers: thousands take it longer than one. */
const LIST_TIMEOUT_MS = 10_000;

/** Data planes of APISIX by their Control API. */
export function createDataPlaneReader(control: ControlClient): DataPlaneReader {
  return {
    shown: (canonical) => workerForm(objectIn(JSON.parse(canonical))),

    async get(dataPlane, id, signal) {
      assertUpstreamId(id);
      const { status, body } = await control.get(dataPlane, `upstream/${id}`, GET_TIMEOUT_MS, signal);
      if (status === 200) return workerForm(valueIn(body));
      // By source; only these words mean that it has no such upstream, and not that something else answers.
      if (textIn(objectIn(body)['error_msg']) === `upstream[${id}] not found`) return undefined;
      throw foreignWords();
    },

    async list(dataPlane, signal) {
      const shown = new Map<UpstreamId, string>();
      const take = (item: Buffer) => {
        const value = valueIn(parseJson(item));
        shown.set(String(value['id']), workerForm(value));
      };
      const { status, body } = await control.list(dataPlane, 'upstreams', LIST_TIMEOUT_MS, take, signal);
      if (status !== 200 || !isEmptyList(body)) throw foreignWords();
      return shown;
    },
  };
}

/** Without its items. By source: an empty Lua table is an object. */
function isEmptyList(body: unknown): boolean {
  return Array.isArray(body) || (isObject(body) && Object.keys(body).length === 0);
}

function valueIn(item: unknown) {
  const value = objectIn(item)['value'];
  if (!isObject(value)) throw foreignWords();
  return value;
}
