import type { HealthCheck, HostHeader, LoadBalancing, Scheme } from '../../model/upstream.ts';
import { isObject, objectIn, textIn } from '../../runtime/json.ts';
import type { ReadUpstream } from '../driver.ts';
import { registryServiceOf } from './discovery.ts';
import { type AdminUpstream, HASH_ON, TYPE } from './translate.ts';
import { withSectionDefaults } from './worker-form.ts';

/** Fields that `Traffic` covers, that the gateway sets, or that define the nodes. All others are overrides. */
const PLACED: ReadonlySet<string> = new Set([
  'id',
  'create_time',
  'update_time',
  'labels',
  'nodes',
  'service_name',
  'discovery_type',
  'discovery_args',
  'type',
  'hash_on',
  'key',
  'scheme',
  'pass_host',
  'upstream_host',
  'retries',
  'retry_timeout',
  'timeout',
  'keepalive_pool',
  'checks',
  'tls',
  'desc',
]);

const SCHEMES: readonly Scheme[] = ['HTTP', 'HTTPS', 'GRPC', 'GRPCS', 'TCP', 'TLS', 'UDP'];

/**
 * The inverse of `toAdmin`, also for upstreams that other clients wrote. It omits fields that the model cannot express or
 * that have a wrong type. To detect such fields, compare canonical forms.
 */
export function fromAdmin(given: AdminUpstream): ReadUpstream {
  const value = withSectionDefaults(given);
  const { timeout, keepalive_pool: pool, checks, tls, retries, retry_timeout: retryTimeout, desc } = value;
  const overrides = Object.fromEntries(Object.entries(value).filter(([field]) => !PLACED.has(field)));
  const hostHeader = hostHeaderOf(value);
  const registryService = registryServiceOf(value);
  return {
    traffic: {
      loadBalancing: loadBalancingOf(value),
      scheme: SCHEMES.find((scheme) => scheme.toLowerCase() === value['scheme']) ?? 'HTTP',
      ...(hostHeader === undefined ? {} : { hostHeader }),
      ...(isObject(timeout)
        ? {
            timeouts: {
              connectMs: milliseconds(timeout['connect']),
              sendMs: milliseconds(timeout['send']),
              readMs: milliseconds(timeout['read']),
            },
          }
        : {}),
      ...(retries === undefined ? {} : { retries: numberIn(retries) }),
      ...(retryTimeout === undefined ? {} : { retryTimeoutMs: milliseconds(retryTimeout) }),
      ...(isObject(pool)
        ? {
            keepalive: {
              size: numberIn(pool['size']),
              idleTimeoutMs: milliseconds(pool['idle_timeout']),
              requests: numberIn(pool['requests']),
            },
          }
        : {}),
      ...(isObject(checks) ? { healthCheck: healthCheckOf(checks) } : {}),
      ...(isObject(tls) ? { tls: { verify: tls['verify'] === true } } : {}),
      ...(typeof desc === 'string' ? { description: desc } : {}),
      ...(Object.keys(overrides).length === 0 ? {} : { overrides }),
    },
    ...(value['discovery_type'] === 'kubernetes' && typeof value['service_name'] === 'string'
      ? { serviceName: value['service_name'] }
      : {}),
    ...(registryService === undefined ? {} : { registryService }),
  };
}

function loadBalancingOf({ type, hash_on: hashOn, key }: AdminUpstream): LoadBalancing {
  const known = nameFor(TYPE, type) ?? 'RoundRobin';
  if (known !== 'ConsistentHash') return { type: known };
  return {
    type: known,
    hashOn: nameFor(HASH_ON, hashOn) ?? 'Vars',
    ...(typeof key === 'string' ? { key } : {}),
  };
}

function hostHeaderOf({ pass_host: type, upstream_host: value }: AdminUpstream): HostHeader | undefined {
  if (type === 'node') return { type: 'Node' };
  return type === 'rewrite' ? { type: 'Rewrite', value: textIn(value) } : undefined;
}

function healthCheckOf(checks: AdminUpstream): HealthCheck {
  const active = objectIn(checks['active']);
  const { passive } = checks;
  const headers = active['req_headers'];
  return {
    active: {
      type: probeTypeOf(active),
      timeoutMs: milliseconds(active['timeout']),
      concurrency: numberIn(active['concurrency']),
      method: textIn(active['http_method']),
      path: textIn(active['http_path']),
      body: textIn(active['http_req_body']),
      ...(typeof active['host'] === 'string' ? { host: active['host'] } : {}),
      ...(active['port'] === undefined ? {} : { port: numberIn(active['port']) }),
      ...(Array.isArray(headers) ? { headers: headers.map((header) => textIn(header)) } : {}),
      verifyCertificate: active['https_verify_certificate'] !== false,
      healthy: { ...intervalOf(active['healthy']), ...successesOf(active['healthy']) },
      unhealthy: { ...intervalOf(active['unhealthy']), ...failuresOf(active['unhealthy']) },
    },
    ...(isObject(passive)
      ? {
          passive: {
            type: probeTypeOf(passive),
            healthy: successesOf(passive['healthy']),
            unhealthy: failuresOf(passive['unhealthy']),
          },
        }
      : {}),
  };
}

function probeTypeOf({ type }: AdminUpstream): HealthCheck['active']['type'] {
  return (['HTTP', 'HTTPS', 'TCP'] as const).find((known) => known.toLowerCase() === type) ?? 'HTTP';
}

function intervalOf(raw: unknown) {
  return { intervalSeconds: numberIn(objectIn(raw)['interval']) };
}

function successesOf(raw: unknown) {
  const { http_statuses: statuses, successes } = objectIn(raw);
  return { statuses: numbersIn(statuses), successes: numberIn(successes) };
}

function failuresOf(raw: unknown) {
  const { http_statuses: statuses, http_failures: http, tcp_failures: tcp, timeouts } = objectIn(raw);
  return {
    statuses: numbersIn(statuses),
    httpFailures: numberIn(http),
    tcpFailures: numberIn(tcp),
    timeouts: numberIn(timeouts),
  };
}

function nameFor<K extends string>(names: Readonly<Record<K, string>>, value: unknown): K | undefined {
  return (Object.keys(names) as K[]).find((name) => names[name] === value);
}

/** NaN if `value` is not a number. No schema accepts NaN. */
function numberIn(value: unknown): number {
  return typeof value === 'number' ? value : Number.NaN;
}

function numbersIn(value: unknown): readonly number[] {
  return Array.isArray(value) ? value.map(numberIn) : [];
}

/** Converts seconds to milliseconds, with three decimal places. */
function milliseconds(seconds: unknown): number {
  return Math.round(numberIn(seconds) * 1_000_000) / 1000;
}
