import { GatewayRejectedError, GatewayUnavailableError, UpstreamInUseError } from '../../core/errors.ts';
import type { ObservedUpstream, UpstreamId } from '../../core/model.ts';
import type { GatewayDriver } from '../driver.ts';
import { type ApisixOptions, createApisixClient } from './client.ts';
import { type AdminUpstream, canonicalForm, toAdmin, toObserved } from './translate.ts';

type Json = Readonly<Record<string, unknown>>;

/** Apache APISIX over its Admin API v3 on etcd. Throws an `Error` that says what is wrong with the options. */
export function createApisixDriver(options: ApisixOptions): GatewayDriver {
  const client = createApisixClient(options);

  return {
    type: 'APISIX',

    canonical: (desired) => canonicalForm(toAdmin(desired)),

    async get(id, signal) {
      const { status, body } = await client.request(
        { method: 'GET', path: pathOf(id), expected: [200, 404] },
        signal,
      );
      if (status === 404) {
        expectMissing(body);
        return undefined;
      }
      return toObserved(id, valueIn(body));
    },

    async list(signal) {
      const { body, version } = await client.request(
        { method: 'GET', path: 'upstreams', expected: [200] },
        signal,
      );
      const upstreams = new Map<UpstreamId, ObservedUpstream>();
      for (const item of itemsOf(body)) {
        const value = valueIn(item);
        const id = idOf(item, value);
        upstreams.set(id, toObserved(id, value));
      }
      return { upstreams, info: version === undefined ? {} : { version } };
    },

    async put(upstream, signal) {
      const { body } = await client.request(
        { method: 'PUT', path: pathOf(upstream.id), body: toAdmin(upstream), expected: [200, 201] },
        signal,
      );
      return toObserved(upstream.id, valueIn(body));
    },

    async delete(id, { references }, signal) {
      const path = pathOf(id);
      if (references === 'respect') {
        const streamRoute = await findStreamRoute(id, signal);
        if (streamRoute !== undefined) {
          throw new UpstreamInUseError(
            `can not delete this upstream, stream_route [${streamRoute}] is still using it now`,
          );
        }
      }
      const { status, body } = await client.request(
        {
          method: 'DELETE',
          path: references === 'ignore' ? `${path}?force=true` : path,
          expected: [200, 404],
        },
        signal,
      );
      if (status === 404) expectMissing(body);
    },

    async check(signal) {
      const { version } = await client.request(
        { method: 'GET', path: 'upstreams?page=1&page_size=10', expected: [200] },
        signal,
      );
      return version === undefined ? {} : { version };
    },

    close: () => client.close(),
  };

  /** By source, APISIX does not look at stream routes when it deletes an upstream. */
  async function findStreamRoute(id: UpstreamId, signal: AbortSignal): Promise<string | undefined> {
    // A gateway without the stream proxy answers 400 or 404 with an error_msg: it has no stream routes.
    const { status, body } = await client.request(
      { method: 'GET', path: 'stream_routes', expected: [200, 400, 404] },
      signal,
    );
    if (status !== 200) {
      if (isObject(body) && typeof body['error_msg'] === 'string') return undefined;
      throw new GatewayUnavailableError(`the list of stream routes was answered with ${status}`);
    }
    for (const item of itemsOf(body)) {
      const value = valueIn(item);
      if (String(value['upstream_id']) === id) return idOf(item, value);
    }
    return undefined;
  }
}

/** The id is checked here, right before it enters a URL: APISIX 3.18, measured: PUT `.../a/b` writes `a`. */
function pathOf(id: UpstreamId): string {
  if (!/^[a-zA-Z0-9._-]{1,64}$/.test(id) || id === '.' || id === '..') {
    throw new GatewayRejectedError(
      `${JSON.stringify(id.slice(0, 100))} is no upstream id: 1 to 64 of letters, digits, ".", "_" and "-"`,
    );
  }
  return `upstreams/${id}`;
}

/** Only APISIX's own words mean that the upstream is not there: a 404 of something in between must not. */
function expectMissing(body: unknown): void {
  if (isObject(body) && body['message'] === 'Key not found') return;
  throw new GatewayUnavailableError(
    'the gateway answered 404 in words that are not those of the Admin API of APISIX on etcd; correct spec.apisix.adminUrl',
  );
}

/** APISIX 3.18, measured: an empty page is `{}` and an empty list `[]`. */
function itemsOf(body: unknown): readonly unknown[] {
  const list = isObject(body) ? body['list'] : undefined;
  if (Array.isArray(list)) return list;
  if (isObject(list) && Object.keys(list).length === 0) return [];
  throw new GatewayUnavailableError(
    'the gateway answered with something that is no list of the Admin API of APISIX',
  );
}

function valueIn(item: unknown): AdminUpstream {
  const value = isObject(item) ? item['value'] : undefined;
  if (!isObject(value)) {
    throw new GatewayUnavailableError(
      'the gateway answered with something that is no object of the Admin API of APISIX',
    );
  }
  return value;
}

function idOf(item: unknown, value: Json): string {
  if (typeof value['id'] === 'string' || typeof value['id'] === 'number') return String(value['id']);
  const key = isObject(item) ? item['key'] : undefined;
  const id = typeof key === 'string' ? key.split('/').at(-1) : undefined;
  if (id === undefined || id === '') {
    throw new GatewayUnavailableError('the gateway listed an object without id or key');
  }
  return id;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
