import type { UpstreamId } from '../../model/upstream.ts';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import { isObject, objectIn, textIn } from '../../runtime/json.ts';
import { assertUpstreamId, type DataPlaneReader } from '../driver.ts';
import { type ControlClient, notControlApi } from './control-client.ts';
import { workerForm } from './worker-form.ts';

const GET_TIMEOUT_MS = 2000;
/** From the source of APISIX: a worker copies all upstreams before it answers, so a long list takes time. */
const LIST_TIMEOUT_MS = 10_000;

/** Reads data planes of APISIX through their Control API. */
export function createDataPlaneReader(control: ControlClient): DataPlaneReader {
  return {
    shown: (canonical) => workerForm(objectIn(JSON.parse(canonical))),

    async get(dataPlane, id, signal) {
      assertUpstreamId(id);
      const { status, body } = await control.get(dataPlane, `upstream/${id}`, GET_TIMEOUT_MS, signal);
      if (status === 200) return workerForm(valueIn(body));
      // From the source of APISIX. Any other 404 comes from another server.
      if (textIn(objectIn(body)['error_msg']) === `upstream[${id}] not found`) return undefined;
      throw notControlApi();
    },

    async list(dataPlane, signal) {
      const shown = new Map<UpstreamId, string>();
      const take = (item: Buffer) => {
        const value = valueIn(parseJson(item));
        shown.set(String(value['id']), workerForm(value));
      };
      const { status, body } = await control.list(dataPlane, 'upstreams', LIST_TIMEOUT_MS, take, signal);
      if (status !== 200 || !isEmptyList(body)) throw notControlApi();
      return shown;
    },
  };
}

/** The list without its items. From the source of APISIX: an empty Lua table becomes an object. */
function isEmptyList(body: unknown): boolean {
  return Array.isArray(body) || (isObject(body) && Object.keys(body).length === 0);
}

function valueIn(item: unknown) {
  const value = objectIn(item)['value'];
  if (!isObject(value)) throw notControlApi();
  return value;
}
