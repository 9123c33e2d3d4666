import { createCipheriv } from 'node:crypto';
import { nginxPage, nginxPath, nginxQuery } from './nginx-uri.ts';
import {
  type Checked,
  checkKeyPair,
  checkSchema,
  checkUpstream,
  isObject,
  type ResourceName,
  SCHEMAS,
} from './schema.ts';
import type { JsonObject, Store, StoredItem } from './store.ts';
import { forcesDeletion } from './versions.ts';

export interface AdminRequest {
  readonly method: string;
  /** Includes the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Undefined without a body, and for a body larger than `MAX_BODY_BYTES`. */
  readonly body: string | undefined;
  readonly bodyBytes: number;
}

export const MAX_BODY_BYTES = 1.5 * 1024 * 1024;

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export interface AdminApiOptions {
  readonly store: Store;
  readonly adminKey: () => string;
  readonly viewerKey: string;
  /** The APISIX version, which determines the accepted fields. */
  readonly version: () => string;
  readonly storesDefaults: () => boolean;
  /** Seconds since 1970. */
  readonly now: () => number;
}

/** Thrown to send an error response. */
class Refusal extends Error {
  readonly answer: Answer;
  constructor(answer: Answer) {
    super(`refused with ${answer.status}`);
    this.answer = answer;
  }
}

const KINDS: Readonly<Record<ResourceName, string>> = {
  upstreams: 'upstream',
  routes: 'route',
  services: 'service',
  stream_routes: 'stream route',
  ssls: 'ssl',
};

interface Call {
  readonly resource: ResourceName;
  readonly id: string | undefined;
  readonly subPath: string;
  readonly query: URLSearchParams;
  /** Undefined without a body. */
  readonly body: unknown;
}

/**
 * APISIX 3.18's Admin API over `store`, for the resources that a gateway operator uses. The behavior comes from
 * recordings, or from the source (`apisix/admin`) if there is no recording.
 */
export function createAdminApi(options: AdminApiOptions): (request: AdminRequest) => Answer {
  const { store, now } = options;

  function respond(request: AdminRequest): Answer {
    const path = nginxPath(request.path);
    if (path === undefined) return page(400);
    if (!path.startsWith('/apisix/admin')) return page(404);
    if (request.method === 'OPTIONS')
      return { status: 200, contentType: 'text/plain; charset=utf-8', body: '' };
    if (request.method === 'HEAD' && path === '/apisix/admin') return json(200, undefined);
    const methods = ['GET', 'PUT', 'POST', 'DELETE', 'PATCH'];
    if (!path.startsWith('/apisix/admin/') || !methods.includes(request.method)) return page(404);

    const query = nginxQuery(request.path);
    authenticate(request, query);
    const segments = path.split('/').slice(3);
    const isPost = request.method === 'POST';
    if (isPost && path === '/apisix/admin/configs/validate') return validateConfigs(parseBody(request));
    if (isPost && path.startsWith('/apisix/admin/schema/validate/')) {
      const resource = resourceOf(segments[2]);
      const checked = checkSchema(resource, parseBody(request));
      return checked.ok ? json(200, undefined) : failure(400, checked.error);
    }
    const resource = resourceOf(segments[0]);
    const body = parseBody(request);
    const ttl = query.get('ttl');
    if (ttl !== null && luaNumber(ttl) === undefined) {
      return failure(400, 'invalid argument ttl: should be a number');
    }
    const subPath = segments.slice(2).join('/').replace(/\/+$/, '');
    const call: Call = { resource, id: segments[1] || undefined, subPath, query, body };
    switch (request.method) {
      case 'GET':
        return call.id === undefined ? list(call) : get(call.resource, call.id);
      case 'PUT':
        return put(call);
      case 'POST':
        return post(call);
      case 'PATCH':
        return patch(call);
      default:
        return remove(call);
    }
  }

  function authenticate(request: AdminRequest, query: URLSearchParams): void {
    const cookie = /(?:^|;\s*)x_api_key=([^;]*)/.exec(String(request.headers['cookie'] ?? ''))?.[1];
    const key = query.get('api_key') ?? request.headers['x-api-key'] ?? cookie;
    if (key === undefined) throw unauthorized('missing apikey');
    if (key === options.adminKey()) return;
    if (key !== options.viewerKey) throw unauthorized('wrong apikey');
    if (request.method !== 'GET') throw unauthorized('invalid method for role viewer');
  }

  function get(resource: ResourceName, id: string): Answer {
    const item = store.get(resource, id);
    return item === undefined ? keyNotFound() : json(200, shown(resource, item));
  }

  function list({ resource, query }: Call): Answer {
    const items = store.list(resource).filter((item) => matchesFilters(resource, item.value, query));
    const total = items.length;
    const page = luaNumber(query.get('page'));
    const size = luaNumber(query.get('page_size'));
    if (page === undefined || size === undefined) {
      return json(200, { list: items.map((item) => shown(resource, item)), total });
    }
    if (size < 10 || size > 500) {
      return { status: 400, contentType: 'application/json', body: 'page_size must be between 10 and 500' };
    }
    const start = (Math.max(page, 1) - 1) * size;
    const slice = items.toSorted((a, b) => a.createdIndex - b.createdIndex).slice(start, start + size);
    // An empty page is a Lua table without the array marker that turns an empty list without pages into `[]`.
    return json(200, { list: slice.length === 0 ? {} : slice.map((item) => shown(resource, item)), total });
  }

  function put({ resource, id: idInPath, query, body }: Call): Answer {
    const conf = objectOf(body, 'missing configurations');
    const id = idInPath ?? conf['id'];
    if (id === undefined || id === false) throw refusal(400, `missing ${KINDS[resource]} id`);
    const checked = check(resource, id, conf, { timesAllowed: false });
    const previous = store.get(resource, String(id))?.value['create_time'];
    const value = { ...checked, create_time: previous ?? seconds(), update_time: seconds() };
    return write(resource, String(id), value, query);
  }

  function post({ resource, id, query, body }: Call): Answer {
    const conf = objectOf(body, 'missing configurations');
    if (id !== undefined || conf['id'] !== undefined) {
      throw refusal(400, `wrong ${KINDS[resource]} id, do not need it`);
    }
    const checked = check(resource, undefined, conf, { timesAllowed: false });
    const generated = store.generateId();
    const value = { ...checked, id: generated, create_time: seconds(), update_time: seconds() };
    return write(resource, generated, value, query);
  }

  function patch({ resource, id, subPath, query, body }: Call): Answer {
    if (resource === 'stream_routes') throw refusal(405, 'not supported `PATCH` method for stream route');
    if (id === undefined) throw refusal(400, `missing ${KINDS[resource]} id`);
    if (body === undefined) throw refusal(400, 'missing new configuration');
    if (subPath === '' && (typeof body !== 'object' || body === null))
      throw refusal(400, 'invalid configuration');
    const item = store.get(resource, id);
    if (item === undefined) return keyNotFound();

    const patched: JsonObject = structuredClone(item.value);
    if (subPath === '') merge(patched, body as JsonObject);
    else replaceAt(patched, subPath.split('/'), body);
    patched['create_time'] ??= seconds();
    const keepsUpdateTime = subPath === '' && isObject(body) && body['update_time'] !== undefined;
    if (!keepsUpdateTime) patched['update_time'] = seconds();
    // APISIX uses compare-and-swap here. In one process there is no concurrent write, so its 503 never occurs.
    return {
      ...write(resource, id, check(resource, id, patched, { timesAllowed: true }), query),
      status: 200,
    };
  }

  function remove({ resource, id, query }: Call): Answer {
    if (id === undefined) throw refusal(400, `missing ${KINDS[resource]} id`);
    const isForced = query.get('force') === 'true' && forcesDeletion(options.version());
    const user = isForced ? undefined : userOf(resource, id);
    if (user !== undefined) throw refusal(400, user);
    if (!store.delete(resource, id)) return keyNotFound();
    return json(200, { key: `/apisix/${resource}/${id}`, deleted: '1' });
  }

  function write(resource: ResourceName, id: string, value: JsonObject, query: URLSearchParams): Answer {
    const ttlSeconds = luaNumber(query.get('ttl'));
    const { item, created } = store.set(resource, id, luaNumbers(value) as JsonObject, { ttlSeconds });
    return json(created ? 201 : 200, { key: item.key, value: item.value });
  }

  /** The value to store, or an error. `id` undefined: the server generates one later. */
  function check(
    resource: ResourceName,
    id: unknown,
    body: JsonObject,
    { timesAllowed }: { readonly timesAllowed: boolean },
  ): JsonObject {
    const stated = body['id'];
    if (stated !== undefined && stated !== false && String(stated) !== String(id)) {
      throw refusal(400, `wrong ${KINDS[resource]} id`);
    }
    const conf = id === undefined ? body : { ...body, id };
    const forbidden = timesAllowed ? undefined : forbiddenProperty(conf);
    if (forbidden !== undefined) throw refusal(400, `the property is forbidden:  ${forbidden}`);
    const checked = checkConf(resource, conf, { references: true });
    if (!checked.ok) throw refusal(400, checked.error);
    return encryptKeys(resource, options.storesDefaults() ? checked.value : conf);
  }

  function checkConf(
    resource: ResourceName,
    conf: JsonObject,
    { references }: { readonly references: boolean },
  ): Checked {
    if (resource === 'upstreams') return checkUpstreamAndCertificate(conf);
    const checked = checkSchema(resource, conf);
    if (!checked.ok) return { ok: false, error: `invalid configuration: ${checked.error}` };
    if (resource === 'ssls') {
      const error = checkKeyPair(conf['cert'], conf['key']);
      return error === undefined ? checked : { ok: false, error };
    }
    if (isObject(conf['upstream'])) {
      const inline = checkUpstreamAndCertificate(conf['upstream']);
      if (!inline.ok) return inline;
    }
    for (const kind of references ? (['upstream', 'service'] as const) : []) {
      const id = conf[`${kind}_id`];
      if (id !== undefined && store.get(`${kind}s`, String(id)) === undefined) {
        const error = `failed to fetch ${kind} info by ${kind} id [${String(id)}], response code: 404`;
        return { ok: false, error };
      }
    }
    return checked;
  }

  function checkUpstreamAndCertificate(conf: JsonObject): Checked {
    failLikeLua(conf);
    const checked = checkUpstream(conf, options.version());
    const tls = conf['tls'];
    if (!checked.ok || !isObject(tls) || tls['client_cert_id'] === undefined) return checked;
    const id = String(tls['client_cert_id']);
    const certificate = store.get('ssls', id);
    const prefix = `failed to fetch ssl info by ssl id [${id}]`;
    if (certificate === undefined) return { ok: false, error: `${prefix}, response code: 404` };
    if (certificate.value['type'] !== 'client') return { ok: false, error: `${prefix}, wrong ssl type` };
    return checked;
  }

  /**
   * The reason why APISIX rejects the deletion. It ignores the `upstream_id` of stream routes (by source). References in
   * plugins and consumers are not modeled, because the stand-in runs no plugins.
   */
  function userOf(resource: ResourceName, id: string): string | undefined {
    const inOrder = (name: ResourceName) =>
      store.list(name).toSorted((a, b) => a.createdIndex - b.createdIndex);
    if (resource === 'upstreams') {
      for (const users of ['routes', 'services'] as const) {
        const user = inOrder(users).find(({ value }) => String(value['upstream_id'] ?? '') === id);
        if (user === undefined) continue;
        return `can not delete this upstream, ${KINDS[users]} [${String(user.value['id'])}] is still using it now`;
      }
    }
    if (resource === 'services') {
      for (const users of ['routes', 'stream_routes'] as const) {
        const user = inOrder(users).find(({ value }) => String(value['service_id'] ?? '') === id);
        if (user === undefined) continue;
        const kind = users === 'routes' ? 'route' : 'stream_route';
        return `can not delete this service directly, ${kind} [${String(user.value['id'])}] is still using it now`;
      }
    }
    return undefined;
  }

  function validateConfigs(body: unknown): Answer {
    if (body === undefined) return failure(400, 'invalid request body: empty request body');
    const errors: JsonObject[] = [];
    for (const resource of Object.keys(KINDS) as ResourceName[]) {
      const items = isObject(body) ? body[resource] : undefined;
      const seen = new Set<unknown>();
      for (const [index, item] of (Array.isArray(items) ? items : []).entries()) {
        const id: unknown = isObject(item) ? item['id'] : undefined;
        const report = (error: string) =>
          errors.push({ resource_type: resource, resource_id: id ?? '', index, error });
        const checked = isObject(item)
          ? checkItem(resource, item)
          : { ok: false as const, error: 'wrong type' };
        if (!checked.ok) report(checked.error);
        if (id !== undefined && seen.has(id)) report(`found duplicate id ${String(id)} in ${resource}`);
        seen.add(id);
      }
    }
    if (errors.length === 0) return json(200, {});
    return json(400, { error_msg: 'Configuration validation failed', errors });
  }

  /** In a batch, an error that crashes a single write is reported like other errors. */
  function checkItem(resource: ResourceName, item: JsonObject): Checked {
    try {
      return checkConf(resource, item, { references: false });
    } catch (error) {
      if (error instanceof Refusal) return { ok: false, error: 'wrong type' };
      throw error;
    }
  }

  const seconds = () => Math.floor(now());

  return (request) => {
    try {
      return respond(request);
    } catch (error) {
      if (error instanceof Refusal) return error.answer;
      throw error;
    }
  };
}

function parseBody({ body, bodyBytes }: AdminRequest): unknown {
  if (bodyBytes > MAX_BODY_BYTES) {
    // The limit is measured. By source, APISIX 3.18 answers 400; a proxy in front of it answers 413.
    const sizes = `request size ${bodyBytes} is greater than the maximum size ${MAX_BODY_BYTES} allowed`;
    throw refusal(413, `invalid request body: ${sizes}`);
  }
  if (body === undefined || body === '') return undefined;
  try {
    return JSON.parse(body) as unknown;
  } catch (error) {
    const message = `invalid request body: ${error instanceof Error ? error.message : 'invalid JSON'}`;
    throw new Refusal(json(400, { error_msg: message, req_body: body }));
  }
}

function resourceOf(segment: string | undefined): ResourceName {
  // `/apisix/admin/` alone makes APISIX concatenate nil.
  if (segment === undefined || segment === '') throw new Refusal(page(500));
  if (!Object.hasOwn(SCHEMAS, segment)) throw refusal(404, `Unsupported resource type: ${segment}`);
  return segment as ResourceName;
}

/** APISIX indexes the decoded body immediately. A value that Lua cannot index causes nginx's 500 page. */
function objectOf(body: unknown, missing: string): JsonObject {
  if (body === undefined || body === false) throw refusal(400, missing);
  if (typeof body !== 'object' || body === null) throw new Refusal(page(500));
  if (Array.isArray(body) && body.length > 0) throw refusal(400, 'invalid configuration: wrong type');
  return Array.isArray(body) ? {} : (body as JsonObject);
}

/** APISIX iterates over `nodes` before it checks the schema. A value that Lua cannot iterate over causes nginx's 500 page. */
function failLikeLua(upstream: JsonObject): void {
  const nodes = upstream['nodes'];
  const walkable = nodes === undefined || nodes === false || (typeof nodes === 'object' && nodes !== null);
  const elements = Array.isArray(nodes) ? nodes : [];
  const indexable = elements.every(
    (node) => typeof node === 'string' || (typeof node === 'object' && node !== null),
  );
  if (!walkable || !indexable) throw new Refusal(page(500));
}

function forbiddenProperty(conf: JsonObject): string | undefined {
  for (const [prefix, part] of [
    ['', conf],
    ['upstream.', conf['upstream']],
    ['plugins.', conf['plugins']],
  ] as const) {
    for (const name of ['create_time', 'update_time']) {
      const value = isObject(part) ? part[name] : undefined;
      if (value !== undefined && value !== false) return `${prefix}${name}`;
    }
  }
  return undefined;
}

function matchesFilters(resource: ResourceName, value: JsonObject, query: URLSearchParams): boolean {
  const name = query.get('name');
  // By source, the name of an unnamed object is the text `nil` here.
  if (name !== null && !matchesPattern(String(value['name'] ?? 'nil'), name)) return false;
  const label = query.get('label');
  if (label !== null && !(isObject(value['labels']) && Object.hasOwn(value['labels'], label))) return false;
  const uri = query.get('uri');
  const uris = [value['uri'], ...(Array.isArray(value['uris']) ? value['uris'] : [])];
  if (uri !== null && !uris.some((each) => typeof each === 'string' && matchesPattern(each, uri)))
    return false;
  const fields = resource === 'routes' || resource === 'stream_routes' ? ['service_id', 'upstream_id'] : [];
  const filter = new URLSearchParams(query.get('filter') ?? '');
  return fields.every((field) => !filter.has(field) || value[field] === filter.getAll(field).at(-1));
}

function matchesPattern(text: string, pattern: string): boolean {
  try {
    return new RegExp(pattern).test(text);
  } catch {
    return false;
  }
}

/** Merges objects, replaces other values, and removes null. An empty object counts as an array (by source). */
function merge(target: JsonObject, patch: JsonObject): void {
  for (const [key, value] of Object.entries(patch)) {
    const current = target[key];
    if (value === null) delete target[key];
    else if (isObject(value) && isObject(current) && Object.keys(value).length > 0) merge(current, value);
    else target[key] = value;
  }
}

function replaceAt(target: JsonObject, path: readonly string[], value: unknown): void {
  const [head = '', ...rest] = path;
  if (rest.length === 0) {
    target[head] = value;
    return;
  }
  const child = target[head] ?? {};
  if (typeof child !== 'object') throw refusal(400, `invalid sub-path: /${head}`);
  // A Lua table accepts any key. An array with an additional key is no longer an array, and invalid.
  const container: JsonObject = { ...child };
  target[head] = container;
  replaceAt(container, rest, value);
}

/** lua-cjson writes 14 significant digits. */
function luaNumbers(value: unknown): unknown {
  if (typeof value === 'number') return Number(value.toPrecision(14));
  if (Array.isArray(value)) return value.map(luaNumbers);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, luaNumbers(each)]));
}

function luaNumber(text: string | null): number | undefined {
  if (text === null || text.trim() === '') return undefined;
  const number = Number(text);
  return Number.isNaN(number) ? undefined : number;
}

/** Private keys are stored and returned encrypted with the gateway's key ring. */
function encryptKeys(resource: ResourceName, conf: JsonObject): JsonObject {
  if (resource === 'ssls') {
    const { key, keys } = conf;
    return { ...conf, key: encrypt(key), ...(Array.isArray(keys) ? { keys: keys.map(encrypt) } : {}) };
  }
  const encryptTls = (upstream: JsonObject): JsonObject => {
    const tls = upstream['tls'];
    if (!isObject(tls) || tls['client_key'] === undefined) return upstream;
    return { ...upstream, tls: { ...tls, client_key: encrypt(tls['client_key']) } };
  };
  if (resource === 'upstreams') return encryptTls(conf);
  return isObject(conf['upstream']) ? { ...conf, upstream: encryptTls(conf['upstream']) } : conf;
}

function encrypt(key: unknown): unknown {
  if (typeof key !== 'string' || !key.startsWith('---')) return key;
  const ring = 'stand-in-keyring';
  const cipher = createCipheriv('aes-128-cbc', ring, ring);
  return Buffer.concat([cipher.update(key, 'utf8'), cipher.final()]).toString('base64');
}

/** GET of a certificate omits its private keys. */
function shown(resource: ResourceName, { key, value, createdIndex, modifiedIndex }: StoredItem): JsonObject {
  const { key: _key, keys: _keys, ...open } = value;
  return { key, value: resource === 'ssls' ? open : value, createdIndex, modifiedIndex };
}

function json(status: number, value: unknown): Answer {
  return { status, contentType: 'application/json', body: value === undefined ? '' : JSON.stringify(value) };
}

function page(status: number): Answer {
  return { status, contentType: 'text/html; charset=utf-8', body: nginxPage(status) };
}

function failure(status: number, message: string): Answer {
  return json(status, { error_msg: message });
}

function keyNotFound(): Answer {
  return json(404, { message: 'Key not found' });
}

function refusal(status: number, message: string): Refusal {
  return new Refusal(failure(status, message));
}

function unauthorized(description: string): Refusal {
  return new Refusal(json(401, { error_msg: 'failed to check token', description }));
}
