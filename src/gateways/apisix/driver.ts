import type { UpstreamId } from '../../model/upstream.ts';
import { objectIn } from '../../runtime/json.ts';
import type { GatewayDriver, GatewayFormat } from '../driver.ts';
import { expectEveryItem, itemsOf, observe, observedIn, valueIn } from './admin-answers.ts';
import { capabilities, unsupported } from './capabilities.ts';
import { type ApisixOptions, createApisixClient } from './client.ts';
import { createControlClient } from './control-client.ts';
import { createDataPlaneReader } from './data-planes.ts';
import { fromAdmin } from './from-admin.ts';
import { createLister } from './lister.ts';
import { labelMarks } from './ownership.ts';
import { canonicalForm, toAdmin, toAdminNodes } from './translate.ts';
import { deleteUpstream, getUpstream, patchUpstream, pathOf } from './upstream-requests.ts';

/** The wire format of the Admin API v3. */
export const apisixFormat: GatewayFormat = {
  canonical: (desired) => canonicalForm(toAdmin(desired)),

  unsupported,

  capabilities,

  // From the source of APISIX: every 3.x version accepts `metadata` in a node and balances without it.
  keepsBackendMarks: true,

  listed(body) {
    const items = itemsOf(body);
    expectEveryItem(body, items.length);
    return new Map(items.flatMap(observedIn).map((upstream) => [upstream.id, upstream]));
  },

  read: ({ canonical }) => fromAdmin(objectIn(JSON.parse(canonical))),
};

/** No upstream has this id. APISIX reads before it patches and answers 404, so the probe does not write. */
const WRITE_PROBE_ID = 'gateway-upstream-operator.write-probe';

/** Driver for the Admin API v3 of APISIX on etcd. Throws an `Error` with a message for the user if the options are invalid. */
export function createApisixDriver(options: ApisixOptions): GatewayDriver {
  const client = createApisixClient(options);
  const control = createControlClient(options.tls);
  // Measured with APISIX 3.18: PATCH of the whole object merges nested objects.
  const addLabels = (id: UpstreamId, labels: Readonly<Record<string, string>>, signal: AbortSignal) =>
    patchUpstream(client, id, { part: '', body: { labels } }, signal);

  return {
    type: 'APISIX',

    canonical: apisixFormat.canonical,

    get: (id, signal) => getUpstream(client, id, signal),

    list: createLister(client),

    async put(upstream, signal) {
      const { body } = await client.request(
        { method: 'PUT', path: pathOf(upstream.id), body: toAdmin(upstream), expected: [200, 201] },
        signal,
      );
      return observe(upstream.id, valueIn(body));
    },

    // PATCH of the whole object would merge nodes in object form. PATCH of /nodes replaces them.
    putNodes: async (id, nodes, signal) =>
      await patchUpstream(client, id, { part: '/nodes', body: toAdminNodes(nodes) }, signal),

    mark: (id, owner, signal) => addLabels(id, labelMarks.encode(owner), signal),

    delete: (id, { references }, signal) => deleteUpstream(client, id, references, signal),

    async check(signal) {
      const { body, version } = await client.request(
        { method: 'GET', path: 'upstreams?page=1&page_size=10', expected: [200] },
        signal,
      );
      itemsOf(body);
      return version === undefined ? {} : { version };
    },

    async checkWrite(signal) {
      await addLabels(WRITE_PROBE_ID, {}, signal);
    },

    dataPlanes: createDataPlaneReader(control),

    close() {
      client.close();
      control.close();
    },
  };
}
