import { GatewayUnavailableError, UpstreamInUseError } from '../../model/errors.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import { isObject } from '../../runtime/json.ts';
import { assertUpstreamId } from '../driver.ts';
import { answered, expectMissing, expectTaken, idsOf, listedValue } from './admin-answers.ts';
import type { ApisixClient } from './client.ts';

/** Checks the id right before it enters a URL. Measured with APISIX 3.18: PUT `.../a/b` writes `a`. */
export function pathOf(id: UpstreamId): string {
  assertUpstreamId(id);
  return `upstreams/${id}`;
}

export async function getUpstream(
  client: ApisixClient,
  id: UpstreamId,
  signal: AbortSignal,
): Promise<ObservedUpstream | undefined> {
  const answer = await client.request({ method: 'GET', path: pathOf(id), expected: [200, 404] }, signal);
  return answered(id, answer);
}

/** `part` is the path below the upstream; empty for the whole upstream. Resolves to undefined if the upstream does not exist. */
export async function patchUpstream(
  client: ApisixClient,
  id: UpstreamId,
  { part, body }: { readonly part: '' | '/nodes'; readonly body: object },
  signal: AbortSignal,
): Promise<ObservedUpstream | undefined> {
  const path = `${pathOf(id)}${part}`;
  const answer = await client.request({ method: 'PATCH', path, body, expected: [200, 404] }, signal);
  return answered(id, answer);
}

export async function deleteUpstream(
  client: ApisixClient,
  id: UpstreamId,
  references: 'respect' | 'ignore',
  signal: AbortSignal,
): Promise<void> {
  try {
    if (references === 'respect') await expectNoStreamRoute(client, id, signal);
    await remove(client, id, references, signal);
  } catch (error) {
    // From the source of APISIX: it checks references before it checks that the upstream exists. After a forced deletion,
    // references to a missing upstream remain.
    if (!(error instanceof UpstreamInUseError)) throw error;
    if ((await getUpstream(client, id, signal)) === undefined) return;
    if (references === 'respect') throw error;
    throw new UpstreamInUseError(
      `${error.message}; this gateway version does not support forced deletion, which requires APISIX 3.5.0 or later`,
    );
  }
}

async function remove(
  client: ApisixClient,
  id: UpstreamId,
  references: 'respect' | 'ignore',
  signal: AbortSignal,
): Promise<void> {
  const path = references === 'ignore' ? `${pathOf(id)}?force=true` : pathOf(id);
  const { status, body } = await client.request({ method: 'DELETE', path, expected: [200, 404] }, signal);
  if (status === 404) expectMissing(body);
  else if (!isObject(body) || body['deleted'] === undefined) {
    throw new GatewayUnavailableError(
      'The answer of the gateway to a deletion is not from the Admin API of APISIX',
    );
  }
}

/** From the source of APISIX: it does not check stream routes when it deletes an upstream. */
async function expectNoStreamRoute(client: ApisixClient, id: UpstreamId, signal: AbortSignal): Promise<void> {
  assertUpstreamId(id);
  let count = 0;
  let route: unknown;
  const take = (bytes: Buffer) => {
    count += 1;
    const item = parseJson(bytes);
    const upstreamId = listedValue(item)['upstream_id'];
    if ((typeof upstreamId === 'string' || typeof upstreamId === 'number') && String(upstreamId) === id) {
      route ??= item;
    }
  };
  // Without the stream proxy, the gateway answers 400 or 404 with an error_msg. Then there are no stream routes.
  const { status, body } = await client.list(
    { path: 'stream_routes', expected: [200, 400, 404] },
    take,
    signal,
  );
  if (status !== 200) {
    if (isObject(body) && typeof body['error_msg'] === 'string') return;
    throw new GatewayUnavailableError(`The gateway answered the list of stream routes with status ${status}`);
  }
  expectTaken(body, count);
  if (route === undefined) return;
  throw new UpstreamInUseError(
    `can not delete this upstream, stream_route [${idsOf(route)[0]}] is still using it now`,
  );
}
