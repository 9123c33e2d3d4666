import { GatewayUnavailableError, UpstreamInUseError } from '../../model/errors.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import { isObject } from '../../runtime/json.ts';
import { assertUpstreamId } from '../driver.ts';
import { answered, expectMissing, expectTaken, idsOf, listedValue } from './admin-answers.ts';
import type { ApisixClient } from './client.ts';

/** The id is checked here, right before it enters a URL: APISIX 3.18, measured: PUT `.../a/b` writes `a`. */
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

/** `part` is what is below the upstream in the path; empty for all of it. Resolves to undefined if there is no such upstream. */
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
    // By source, APISIX looks for referrers before it looks for the upstream, which a forced deletion took from them.
    if (!(error instanceof UpstreamInUseError)) throw error;
    if ((await getUpstream(client, id, signal)) === undefined) return;
    if (references === 'respect') throw error;
    throw new UpstreamInUseError(
      `${error.message}; this gateway deletes nothing by force, which APISIX does from 3.5.0 on`,
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
      'the gateway answered a deletion in words that are not those of the Admin API of APISIX',
    );
  }
}

/** By source, APISIX does not look at stream routes when it deletes an upstream. */
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
  // A gateway without the stream proxy answers 400 or 404 with an error_msg: it has no stream routes.
  const { status, body } = await client.list(
    { path: 'stream_routes', expected: [200, 400, 404] },
    take,
    signal,
  );
  if (status !== 200) {
    if (isObject(body) && typeof body['error_msg'] === 'string') return;
    throw new GatewayUnavailableError(`the list of stream routes was answered with ${status}`);
  }
  expectTaken(body, count);
  if (route === undefined) return;
  throw new UpstreamInUseError(
    `can not delete this upstream, stream_route [${idsOf(route)[0]}] is still using it now`,
  );
}
