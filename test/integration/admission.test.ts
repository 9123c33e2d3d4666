import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { brokenSpec, validSpec } from '../support/arbitrary-spec.ts';
import { transformGatewayConnection, transformGatewayUpstream } from '../support/catalog.ts';
import { installCrds } from '../support/operator.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import { GROUP_PATH } from '../support/workload.ts';

const cluster = await sharedControlPlane();

type Kind = 'GatewayUpstream' | 'GatewayConnection';
type Spec = Readonly<Record<string, unknown>>;

interface Wrong {
  readonly name: string;
  readonly kind: Kind;
  readonly spec: unknown;
  /** Parts of the API server's message: the field and the remedy. */
  readonly says: readonly string[];
}

interface Right {
  readonly name: string;
  readonly kind: Kind;
  readonly spec: Spec;
}

const service = { serviceRef: { name: 'web', port: 80 } };

const upstream = (name: string, fields: Spec): Right => ({
  name,
  kind: 'GatewayUpstream',
  spec: { backends: [service], ...fields },
});
const backend = (name: string, fields: Spec): Right => upstream(name, { backends: [fields] });
const serviceName = (text: unknown) => backend(`serviceName ${JSON.stringify(text)}`, { serviceName: text });
const servicePort = (port: unknown) =>
  backend(`port ${JSON.stringify(port)}`, { serviceRef: { name: 'web', port } });
const host = (text: unknown) =>
  backend(`host ${JSON.stringify(text)}`, { addresses: [{ host: text, port: 80 }] });
const address = (name: string, fields: Spec): Right =>
  backend(name, { addresses: [{ host: '192.0.2.1', port: 80, ...fields }] });
const readTimeout = (read: unknown) => upstream(`timeout ${JSON.stringify(read)}`, { timeouts: { read } });
const hash = (name: string, fields: Spec): Right => upstream(name, { loadBalancing: fields });
const hostHeader = (name: string, fields: unknown) => upstream(`hostHeader: ${name}`, { hostHeader: fields });
const keepalive = (name: string, fields: unknown) => upstream(`keepalive: ${name}`, { keepalive: fields });
const active = (name: string, fields: unknown) =>
  upstream(`active: ${name}`, { healthCheck: { active: fields } });
const passive = (name: string, fields: unknown) =>
  upstream(`passive: ${name}`, { healthCheck: { active: {}, passive: fields } });
const tls = (name: string, fields: unknown) => upstream(`tls: ${name}`, { tls: fields });
const labels = (name: string, fields: unknown) => upstream(`labels: ${name}`, { labels: fields });
const overrides = (name: string, fields: unknown) =>
  upstream(`overrides: ${name}`, { apisix: { overrides: fields } });

const apisix = { adminUrl: 'http://apisix-admin.apisix:9180', adminKeySecretRef: { name: 'admin' } };

const connection = (name: string, fields: Spec): Right => ({
  name,
  kind: 'GatewayConnection',
  spec: { type: 'APISIX', apisix, ...fields },
});
const adminUrl = (url: unknown) =>
  connection(`adminUrl ${JSON.stringify(url)}`, { apisix: { ...apisix, adminUrl: url } });
const controlApi = (name: string, fields: unknown): Right =>
  connection(`controlApi: ${name}`, { apisix: { ...apisix, controlApi: fields } });
const control = { name: 'apisix-control', namespace: 'apisix', port: 9090 };
const allowed = (name: string, fields: unknown): Right => connection(name, { allowedNamespaces: fields });
const match = (pattern: unknown) => allowed(`match ${JSON.stringify(pattern)}`, { match: [pattern] });
const expression = (name: string, fields: Spec): Right =>
  allowed(name, { selector: { matchExpressions: [fields] } });

const wrong = (right: Right, ...says: readonly string[]): Wrong => ({ ...right, says });

const long = (length: number) => 'a'.repeat(length);
const times = <T>(count: number, value: T): readonly T[] => Array.from({ length: count }, () => value);

const addressing = (name: string, fields: unknown): Right =>
  backend(`addressing: ${name}`, { ...service, addressing: fields });
const endpoints = (name: string, fields: unknown): Right =>
  upstream(`endpoints: ${name}`, { endpoints: fields });
const manyLabels = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`label-${n}`, 'a']));

const WRONG: readonly Wrong[] = [
  { name: 'no spec', kind: 'GatewayUpstream', spec: undefined, says: ['spec: Required value'] },
  { name: 'spec is a list', kind: 'GatewayUpstream', spec: [], says: ['spec', 'object'] },
  { name: 'spec is empty', kind: 'GatewayUpstream', spec: {}, says: ['spec.backends: Required value'] },
  { name: 'no spec', kind: 'GatewayConnection', spec: undefined, says: ['spec: Required value'] },
  { name: 'spec is empty', kind: 'GatewayConnection', spec: {}, says: ['spec.type: Required value'] },

  // Addressing and endpoints
  wrong(addressing('no mode', {}), 'spec.backends[0].addressing.mode: Required value'),
  wrong(addressing('mode', { mode: 'NodePort' }), 'Unsupported value: "NodePort"'),
  wrong(
    addressing('a selector of nodes for Pods', { mode: 'Pod', nodeSelector: {} }),
    'nodeAddressType and nodeSelector are allowed only with mode Node',
  ),
  wrong(
    addressing('a type of address for a name', { mode: 'DNS', nodeAddressType: 'InternalIP' }),
    'nodeAddressType and nodeSelector are allowed only with mode Node',
  ),
  wrong(
    addressing('a suffix for nodes', { mode: 'Node', dnsSuffix: '' }),
    'dnsSuffix is allowed only with mode DNS',
  ),
  wrong(
    addressing('a suffix with a dot', { mode: 'DNS', dnsSuffix: '.svc' }),
    'for example svc.cluster.local',
  ),
  wrong(
    addressing('too many labels', { mode: 'Node', nodeSelector: { matchLabels: manyLabels(9) } }),
    'Too many: 9: must have at most 8 items',
  ),
  wrong(
    backend('addresses with addressing', {
      addresses: [{ host: '192.0.2.1', port: 80 }],
      addressing: { mode: 'DNS' },
    }),
    'addressing applies only to Services',
  ),
  wrong(
    connection('addressing: a suffix for nodes', { addressing: { mode: 'Node', dnsSuffix: 'svc' } }),
    'spec.addressing',
    'dnsSuffix is allowed only with mode DNS',
  ),
  wrong(endpoints('family', { family: 'ipv6' }), 'Unsupported value: "ipv6"'),
  wrong(endpoints('drain', { drain: 'Keep' }), 'Unsupported value: "Keep"'),
  wrong(endpoints('no zones', { zones: [] }), 'spec.endpoints.zones'),
  wrong(endpoints('a zone twice', { zones: [{ zone: 'a' }, { zone: 'a', weight: 1 }] }), 'Duplicate value'),
  wrong(endpoints('a weight over 100', { zones: [{ zone: 'a', weight: 101 }] }), 'zones[0].weight'),

  // serviceName, the format of APISIX's discovery
  wrong(
    serviceName('cms.default.svc.cluster.local'),
    'spec.backends[0].serviceName',
    'write default/cms:<portName> instead of cms.default.svc.cluster.local',
  ),
  wrong(serviceName('cms.default'), 'write default/cms:<portName>'),
  wrong(serviceName('cms.default.svc:80'), 'write default/cms:<portName>'),
  wrong(serviceName('cms.default:http'), 'write default/cms:<portName>'),
  wrong(serviceName('default/cms'), 'write default/cms:<portName>'),
  wrong(serviceName('default/cms:'), 'write default/cms:<portName>'),
  wrong(serviceName('cms'), '[namespace]/[name]:[portName]', 'default/cms:http'),
  wrong(serviceName('cms:http'), '[namespace]/[name]:[portName]', 'default/cms:http'),
  wrong(serviceName(''), '[namespace]/[name]:[portName]', 'default/cms:http'),
  wrong(serviceName('Default/cms:http'), 'in lower case'),
  wrong(serviceName(`default/cms:${long(200)}`), 'Too long', '200'),
  wrong(serviceName(8080), 'must be of type string: "integer"'),

  // A Service by reference
  wrong(backend('port is missing', { serviceRef: { name: 'web' } }), 'serviceRef.port: Required value'),
  wrong(backend('name is missing', { serviceRef: { port: 80 } }), 'serviceRef.name: Required value'),
  wrong(
    backend('a DNS name of a Service', { serviceRef: { name: 'web.shop.svc', port: 80 } }),
    'the name of a Service',
    'set its namespace and port in namespace and port',
  ),
  wrong(
    backend('name is empty', { serviceRef: { name: '', port: 80 } }),
    'the name of a Service, for example web',
  ),
  wrong(
    backend('namespace with a capital', { serviceRef: { name: 'web', namespace: 'Shop', port: 80 } }),
    'namespace must be the name of a namespace, for example default: lowercase letters',
  ),
  wrong(servicePort(0), 'the number (1 to 65535, without quotes) or the name', 'for example 80 or http'),
  wrong(servicePort(70_000), '1 to 65535'),
  wrong(servicePort(-1), '1 to 65535'),
  wrong(servicePort('80'), 'without quotes'),
  wrong(servicePort(''), 'for example 80 or http'),
  wrong(servicePort('HTTP'), 'for example 80 or http'),
  wrong(servicePort('a-name-that-is-too-long'), 'for example 80 or http'),
  wrong(servicePort(80.5), 'spec.backends[0].serviceRef.port', 'integer'),
  wrong(servicePort(true), 'spec.backends[0].serviceRef.port', 'integer,string'),

  // Static addresses
  wrong(host('http://example.com'), 'without scheme, port, path or brackets'),
  wrong(host('example.com:80'), 'without scheme, port, path or brackets'),
  wrong(host('192.0.2.1:80'), 'without scheme, port, path or brackets'),
  wrong(host('example.com/'), 'without scheme, port, path or brackets'),
  wrong(host('[2001:db8::1]'), 'without scheme, port, path or brackets'),
  wrong(host('2130706433'), 'a host that ends in a number must be an IPv4 address'),
  wrong(host('0x7f000001'), 'a host that ends in a number must be an IPv4 address'),
  wrong(host('127.0.0.0x1'), 'a host that ends in a number must be an IPv4 address'),
  wrong(host('127.1'), 'a host that ends in a number must be an IPv4 address'),
  wrong(
    connection('a range without length', { addresses: { allow: ['127.0.0.1'] } }),
    'must be a range in CIDR notation, for example 127.0.0.0/8 or fe80::/10',
  ),
  wrong(connection('a range too long', { addresses: { deny: ['10.0.0.0/33'] } }), 'CIDR notation'),
  wrong(connection('a range of a name', { addresses: { allow: ['localhost/8'] } }), 'CIDR notation'),
  wrong(
    connection('65 ranges', { addresses: { allow: times(65, '10.0.0.0/8') } }),
    'spec.addresses.allow: Too many',
  ),
  wrong(host('cafe:80'), 'without scheme, port, path or brackets'),
  wrong(host(' example.com'), 'must be an IP address or a DNS name'),
  wrong(host('*.example.com'), 'must be an IP address or a DNS name'),
  wrong(host(''), 'must be an IP address or a DNS name'),
  wrong(host('192.0.2.256'), 'four numbers from 0 to 255, for example 192.0.2.10'),
  wrong(host('192.0.2'), 'four numbers from 0 to 255'),
  wrong(host(long(254)), 'Too long', '253'),
  wrong(address('address with port 0', { port: 0 }), 'addresses[0].port', 'greater than or equal to 1'),
  wrong(
    address('address with port 65536', { port: 65_536 }),
    'addresses[0].port',
    'less than or equal to 65535',
  ),
  wrong(address('port in quotes', { port: '80' }), 'addresses[0].port', 'must be of type integer: "string"'),
  wrong(
    backend('address without port', { addresses: [{ host: '192.0.2.1' }] }),
    'addresses[0].port: Required value',
  ),
  wrong(
    address('address of weight 101', { weight: 101 }),
    'addresses[0].weight',
    'less than or equal to 100',
  ),
  wrong(address('priority 101', { priority: 101 }), 'addresses[0].priority', 'less than or equal to 100'),
  wrong(backend('no addresses', { addresses: [] }), 'addresses', 'should have at least 1 items'),
  wrong(
    backend('129 addresses', { addresses: times(129, { host: '192.0.2.1', port: 80 }) }),
    'Too many: 129: must have at most 128 items',
  ),
  wrong(
    backend('addresses as text', { addresses: ['192.0.2.1:80'] }),
    'addresses[0]',
    'must be of type object: "string"',
  ),

  // Backends
  wrong(upstream('0 backends', { backends: [] }), 'spec.backends', 'should have at least 1 items'),
  wrong(
    upstream('17 backends', { backends: times(17, service) }),
    'Too many: 17: must have at most 16 items',
  ),
  wrong(upstream('backends as text', { backends: 'default/web:http' }), 'must be of type array: "string"'),
  wrong(
    backend('no kind of backend', { weight: 1 }),
    'exactly one of serviceRef, serviceName, registryRef and addresses',
  ),
  wrong(
    backend('two kinds of backend', { ...service, serviceName: 'default/web:http' }),
    'exactly one of serviceRef, serviceName, registryRef and addresses',
  ),
  wrong(backend('weight 101', { ...service, weight: 101 }), 'weight', 'less than or equal to 100'),
  wrong(backend('weight -1', { ...service, weight: -1 }), 'weight', 'greater than or equal to 0'),
  wrong(backend('weight 0.5', { ...service, weight: 0.5 }), 'weight', 'must be of type int'),
  wrong(backend('weight in quotes', { ...service, weight: '1' }), 'must be of type integer: "string"'),

  // The rest of a GatewayUpstream
  wrong(upstream('upstreamId with a slash', { upstreamId: 'a/b' }), 'letters, digits, ".", "_" and "-"'),
  wrong(upstream('upstreamId empty', { upstreamId: '' }), 'upstreamId must be 1 to 64 letters'),
  wrong(upstream('upstreamId is two dots', { upstreamId: '..' }), 'upstreamId must be 1 to 64 letters'),
  wrong(upstream('upstreamId of 65', { upstreamId: long(65) }), 'spec.upstreamId: Too long', '64'),
  wrong(upstream('upstreamId a number', { upstreamId: 1 }), 'must be of type string: "integer"'),
  wrong(upstream('connectionRef is a name', { connectionRef: 'main' }), 'must be of type object: "string"'),
  wrong(upstream('connectionRef is empty', { connectionRef: {} }), 'connectionRef.name: Required value'),
  wrong(
    upstream('connectionRef with a slash', { connectionRef: { name: 'ops/main' } }),
    'name must be the name of a GatewayConnection, for example default',
  ),
  wrong(readTimeout('0s'), 'spec.timeouts.read', 'a duration from 1ms to 24h'),
  wrong(readTimeout('-1s'), 'a duration from 1ms to 24h'),
  wrong(readTimeout('5'), 'numbers with a unit (ms, s, m, h), for example 500ms, 30s or 1m30s'),
  wrong(readTimeout('5 s'), 'numbers with a unit'),
  wrong(readTimeout('5sec'), 'numbers with a unit'),
  wrong(readTimeout('1d'), 'numbers with a unit'),
  wrong(readTimeout(''), 'numbers with a unit'),
  wrong(readTimeout('25h'), 'a duration from 1ms to 24h'),
  wrong(readTimeout('24h1ms'), 'a duration from 1ms to 24h'),
  wrong(readTimeout('9999999999999999999h'), 'a duration from 1ms to 24h'),
  wrong(readTimeout(5), 'must be of type string: "integer"'),
  wrong(upstream('timeouts is text', { timeouts: '5s' }), 'must be of type object: "string"'),
  wrong(upstream('retries -1', { retries: -1 }), 'spec.retries', 'greater than or equal to 0'),
  wrong(upstream('retries 1001', { retries: 1001 }), 'spec.retries', 'less than or equal to 1000'),
  wrong(upstream('retries in quotes', { retries: '3' }), 'must be of type integer: "string"'),
  wrong(upstream('scheme in lower case', { scheme: 'http' }), 'Unsupported value: "http"', '"HTTP", "HTTPS"'),
  wrong(upstream('deletionPolicy unknown', { deletionPolicy: 'Keep' }), '"Delete", "Orphan", "Force"'),
  wrong(upstream('deletionTimeout of 8 days', { deletionTimeout: '192h' }), 'from 0s to 168h'),
  wrong(upstream('deletionTimeout without unit', { deletionTimeout: '600' }), 'numbers with a unit'),

  // Load balancing
  wrong(
    hash('the spelling of APISIX', { type: 'chash' }),
    '"RoundRobin", "ConsistentHash", "EWMA", "LeastConn"',
  ),
  wrong(hash('a key without ConsistentHash', { key: 'uri' }), 'are allowed only with type ConsistentHash'),
  wrong(
    hash('hashOn with EWMA', { type: 'EWMA', hashOn: 'Vars' }),
    'are allowed only with type ConsistentHash',
  ),
  wrong(
    hash('ConsistentHash without key', { type: 'ConsistentHash' }),
    'needs a key, for example remote_addr',
  ),
  wrong(
    hash('Header without key', { type: 'ConsistentHash', hashOn: 'Header' }),
    'needs a key, for example remote_addr',
  ),
  wrong(hash('an empty key', { type: 'ConsistentHash', key: '' }), 'key must be printable ASCII characters'),
  wrong(
    hash('a key with a space', { type: 'ConsistentHash', hashOn: 'VarsCombinations', key: 'a b' }),
    'spaces',
  ),
  wrong(
    hash('an unknown variable', { type: 'ConsistentHash', key: 'client_ip' }),
    'key must be one of uri, server_name',
    'remote_addr',
  ),
  wrong(
    hash('a variable as nginx writes it', { type: 'ConsistentHash', key: '$remote_addr' }),
    'key must be one of uri, server_name',
  ),
  wrong(
    hash('a header with a colon', { type: 'ConsistentHash', hashOn: 'Header', key: 'X-Id:' }),
    'letters, digits, - and _',
  ),
  wrong(
    hash('hashOn unknown', { type: 'ConsistentHash', hashOn: 'Ip', key: 'a' }),
    '"Vars", "Header", "Cookie"',
  ),

  // Timeouts, retries and host header
  wrong(
    hostHeader('Rewrite without value', { type: 'Rewrite' }),
    'type Rewrite needs a value',
    'shop.example.com',
  ),
  wrong(hostHeader('value with Pass', { value: 'a.example' }), 'the other types must not have a value'),
  wrong(
    hostHeader('value with Node', { type: 'Node', value: 'a.example' }),
    'the other types must not have a value',
  ),
  wrong(
    hostHeader('a URL', { type: 'Rewrite', value: 'http://a.example/' }),
    'value must be a host name, with or without',
  ),
  wrong(
    hostHeader('empty', { type: 'Rewrite', value: '' }),
    'value must be a host name, with or without a port',
  ),
  wrong(hostHeader('as APISIX writes it', { type: 'rewrite', value: 'a' }), '"Pass", "Node", "Rewrite"'),
  wrong(hostHeader('a name alone', 'a.example'), 'must be of type object: "string"'),
  wrong(hostHeader('too long', { type: 'Rewrite', value: long(254) }), 'Too long', '253'),
  wrong(upstream('retryTimeout negative', { retryTimeout: '-1s' }), 'spec.retryTimeout', 'from 0s to 24h'),
  wrong(upstream('retryTimeout over a day', { retryTimeout: '25h' }), 'a duration from 0s to 24h'),
  wrong(upstream('retryTimeout a number', { retryTimeout: 5 }), 'must be of type string: "integer"'),
  wrong(keepalive('no connections', { size: 0 }), 'spec.keepalive.size', 'greater than or equal to 1'),
  wrong(keepalive('too many', { size: 100_001 }), 'spec.keepalive.size', 'less than or equal to 100000'),
  wrong(keepalive('no requests', { requests: 0 }), 'spec.keepalive.requests', 'greater than or equal to 1'),
  wrong(keepalive('idle for ever', { idleTimeout: '-1s' }), 'spec.keepalive.idleTimeout', 'from 0s to 24h'),
  wrong(keepalive('idle a number', { idleTimeout: 60 }), 'must be of type string: "integer"'),
  wrong(keepalive('switched off', false), 'must be of type object: "boolean"'),

  // Health checks
  wrong(upstream('passive alone', { healthCheck: { passive: {} } }), 'healthCheck.active: Required value'),
  wrong(upstream('healthCheck on', { healthCheck: true }), 'must be of type object: "boolean"'),
  wrong(active('type of APISIX', { type: 'http' }), '"HTTP", "HTTPS", "TCP"'),
  wrong(active('timeout of 0', { timeout: '0s' }), 'active.timeout', 'a duration from 1ms to 1h'),
  wrong(active('concurrency 0', { concurrency: 0 }), 'active.concurrency', 'greater than or equal to 1'),
  wrong(active('method unknown', { method: 'LOOK' }), 'Unsupported value: "LOOK"', '"GET"'),
  wrong(
    active('path without slash', { path: 'healthz' }),
    'path must start with "/"',
    'for example /healthz',
  ),
  wrong(active('path with a space', { path: '/a b' }), 'must not contain spaces'),
  wrong(active('a URL as host', { host: 'http://a' }), 'host must be a host name, with or without a port'),
  wrong(active('port 0', { port: 0 }), 'active.port', 'greater than or equal to 1'),
  wrong(active('port by name', { port: 'http' }), 'must be of type integer: "string"'),
  wrong(active('header without name', { headers: ['gateway'] }), 'a header must have the form "Name: value"'),
  wrong(
    active('header with a line break', { headers: ['a: b\r\nc: d'] }),
    'a header must have the form "Name: value"',
  ),
  wrong(active('headers as text', { headers: 'User-Agent: a' }), 'must be of type array: "string"'),
  wrong(active('no headers', { headers: [] }), 'active.headers', 'should have at least 1 items'),
  wrong(active('17 headers', { headers: times(17, 'a: b') }), 'Too many: 17: must have at most 16 items'),
  wrong(active('body too long', { body: long(4097) }), 'Too long', '4096'),
  wrong(
    active('verifyCertificate in quotes', { verifyCertificate: 'no' }),
    'must be of type boolean: "string"',
  ),
  wrong(active('interval of 0', { healthy: { interval: '0s' } }), 'healthy.interval', 'from 1s to 24h'),
  wrong(
    active('interval of 500ms', { healthy: { interval: '500ms' } }),
    'must be whole seconds, for example 5s',
  ),
  wrong(
    active('interval of 1.5s', { unhealthy: { interval: '1.5s' } }),
    'unhealthy.interval',
    'whole seconds',
  ),
  wrong(
    active('no statuses', { healthy: { statuses: [] } }),
    'healthy.statuses',
    'should have at least 1 items',
  ),
  wrong(active('status 199', { healthy: { statuses: [199] } }), 'greater than or equal to 200'),
  wrong(active('status 600', { unhealthy: { statuses: [600] } }), 'less than or equal to 599'),
  wrong(active('a status twice', { unhealthy: { statuses: [500, 500] } }), 'Duplicate value: 500'),
  wrong(
    active('0 successes', { healthy: { successes: 0 } }),
    'healthy.successes',
    'greater than or equal to 1',
  ),
  wrong(active('255 failures', { unhealthy: { httpFailures: 255 } }), 'less than or equal to 254'),
  wrong(
    active('0 tcpFailures', { unhealthy: { tcpFailures: 0 } }),
    'tcpFailures',
    'greater than or equal to 1',
  ),
  wrong(
    active('0 timeouts', { unhealthy: { timeouts: 0 } }),
    'unhealthy.timeouts',
    'greater than or equal to 1',
  ),
  wrong(passive('type of APISIX', { type: 'tcp' }), '"HTTP", "HTTPS", "TCP"'),
  wrong(passive('255 successes', { healthy: { successes: 255 } }), 'less than or equal to 254'),
  wrong(passive('-1 failures', { unhealthy: { tcpFailures: -1 } }), 'greater than or equal to 0'),
  wrong(passive('status 600', { unhealthy: { statuses: [600] } }), 'less than or equal to 599'),

  // TLS, labels, description
  wrong(
    tls('a Secret by its name alone', { clientCertificateSecretRef: 'web' }),
    'must be of type object: "string"',
  ),
  wrong(tls('a Secret without name', { clientCertificateSecretRef: {} }), 'name: Required value'),
  wrong(
    tls('a Secret of another namespace', { clientCertificateSecretRef: { name: 'other/web' } }),
    'a Secret in the namespace of this object',
  ),
  wrong(tls('verify in quotes', { verify: 'true' }), 'must be of type boolean: "string"'),
  wrong(labels('a space in a key', { 'my team': 'a' }), 'without spaces', 'for example team: payments'),
  wrong(labels('a space in a value', { team: 'a b' }), 'without spaces, and no key may start with'),
  wrong(labels('an empty value', { team: '' }), 'values of 1 to 256 characters'),
  wrong(labels('an empty key', { '': 'a' }), 'keys of 1 to 128'),
  wrong(labels('a key of 129', { [long(129)]: 'a' }), 'keys of 1 to 128'),
  wrong(labels('a value of 257', { team: long(257) }), 'Too long', '256'),
  wrong(
    labels("the operator's own", { 'gatewayupstream.dev/name': 'a' }),
    'no key may start with gatewayupstream.dev/',
  ),
  wrong(labels('a number', { team: 1 }), 'must be of type string: "integer"'),
  wrong(
    labels('33 of them', Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`l${n}`, 'a']))),
    'Too many: 33: must have at most 32 items',
  ),
  wrong(upstream('description of 257', { description: long(257) }), 'spec.description: Too long', '256'),
  wrong(upstream('description a number', { description: 1 }), 'must be of type string: "integer"'),
  wrong(overrides('a list', []), 'must be of type object: "array"'),
  wrong(overrides('text', 'retries: 1'), 'must be of type object: "string"'),
  wrong(
    overrides('33 fields', Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`f${n}`, 1]))),
    'Too many: 33: must have at most 32 items',
  ),

  // GatewayConnection
  wrong(connection('type unknown', { type: 'Kong' }), 'spec.type: Unsupported value: "Kong"', '"APISIX"'),
  {
    name: 'type without its section',
    kind: 'GatewayConnection',
    spec: { type: 'APISIX' },
    says: ['needs the field apisix with adminUrl and adminKeySecretRef'],
  },
  wrong(
    connection('section without url', { apisix: { adminKeySecretRef: { name: 'a' } } }),
    'adminUrl: Required',
  ),
  wrong(
    connection('section without key', { apisix: { adminUrl: apisix.adminUrl } }),
    'adminKeySecretRef: Required',
  ),
  wrong(
    adminUrl('http://admin:secret@apisix:9180'),
    'http://apisix-admin.apisix:9180',
    'without credentials',
  ),
  wrong(adminUrl('apisix:9180'), 'must be a URL such as http://apisix-admin.apisix:9180'),
  wrong(adminUrl('tcp://apisix:9180'), 'must be a URL such as http://apisix-admin.apisix:9180'),
  wrong(adminUrl('http://apisix:9180?api_key=secret'), 'query or fragment'),
  wrong(adminUrl('http://apisix:9180/#admin'), 'query or fragment'),
  wrong(adminUrl('http://apisix:65536'), 'must be a URL such as http://apisix-admin.apisix:9180'),
  wrong(adminUrl('http://:9180'), 'must be a URL such as http://apisix-admin.apisix:9180'),
  wrong(adminUrl('http://10.0.0.256:9180'), 'four numbers from 0 to 255, for example http://192.0.2.10:9180'),
  wrong(adminUrl(''), 'must be a URL such as http://apisix-admin.apisix:9180'),
  wrong(controlApi('nothing', {}), 'controlApi must set exactly one of urls and serviceRef'),
  wrong(
    controlApi('both', { urls: ['http://10.0.0.1:9090'], serviceRef: control }),
    'controlApi must set exactly one of urls and serviceRef',
  ),
  wrong(controlApi('no URL', { urls: [] }), 'should have at least 1 items'),
  wrong(controlApi('no scheme', { urls: ['10.0.0.1:9090'] }), 'a URL of controlApi must be a URL such as'),
  wrong(controlApi('credentials', { urls: ['http://u:p@10.0.0.1:9090'] }), 'without credentials'),
  wrong(controlApi('no IPv4 address', { urls: ['http://10.0.0.256:9090'] }), 'four numbers from 0 to 255'),
  wrong(controlApi('twice', { urls: times(2, 'http://10.0.0.1:9090') }), 'Duplicate value'),
  wrong(
    controlApi('65 URLs', { urls: Array.from({ length: 65 }, (_, n) => `http://10.0.0.${n}:9090`) }),
    'Too many: 65: must have at most 64 items',
  ),
  wrong(
    controlApi('no namespace', { serviceRef: { ...control, namespace: undefined } }),
    'serviceRef.namespace: Required value',
  ),
  wrong(controlApi('a port in quotes', { serviceRef: { ...control, port: '9090' } }), 'without quotes'),
  wrong(
    connection('a Secret with its namespace', {
      apisix: { ...apisix, adminKeySecretRef: { name: 'apisix/admin' } },
    }),
    'the name of a Secret, without its namespace',
  ),
  wrong(
    connection('an entry with a space', {
      apisix: { ...apisix, adminKeySecretRef: { name: 'admin', key: 'admin key' } },
    }),
    'for example admin-key',
  ),
  wrong(
    connection('trust everything and a CA', {
      apisix: { ...apisix, tls: { insecureSkipVerify: true, caSecretRef: { name: 'ca' } } },
    }),
    'insecureSkipVerify must not be combined with caSecretRef: remove one of them',
  ),
  wrong(
    connection('serverName is a URL', { apisix: { ...apisix, tls: { serverName: 'https://apisix' } } }),
    'without scheme and port',
  ),
  wrong(
    connection('insecureSkipVerify in quotes', {
      apisix: { ...apisix, tls: { insecureSkipVerify: 'true' } },
    }),
    'must be of type boolean: "string"',
  ),
  wrong(
    connection('idPrefix with a slash', { idPrefix: 'a/' }),
    'idPrefix must be at most 32 letters, digits',
  ),
  wrong(connection('idPrefix of 33', { idPrefix: long(33) }), 'Too long', '32'),
  wrong(connection('concurrency 0', { limits: { concurrency: 0 } }), 'limits.concurrency', 'or equal to 1'),
  wrong(connection('concurrency 65', { limits: { concurrency: 65 } }), 'less than or equal to 64'),
  wrong(
    connection('0 requests', { limits: { requestsPerSecond: 0 } }),
    'limits.requestsPerSecond',
    'equal to 1',
  ),
  wrong(connection('policy unknown', { tenantPolicy: { adoption: 'Yes' } }), '"Deny", "Allow"'),
  wrong(connection('upstreamIds unknown', { tenantPolicy: { upstreamIds: 'All' } }), '"Prefixed", "Any"'),
  wrong(allowed('a list of namespaces', ['default']), 'must be of type object: "array"'),
  wrong(allowed('all in quotes', { all: 'true' }), 'must be of type boolean: "string"'),
  wrong(
    allowed('all and names', { all: true, names: ['default'] }),
    'remove names, match and selector, or remove all',
  ),
  wrong(
    allowed('all and selector', { all: true, selector: {} }),
    'remove names, match and selector, or remove all',
  ),
  wrong(allowed('an expression in names', { names: ['my-*'] }), 'put regular expressions into match'),
  wrong(allowed('257 names', { names: times(257, 'a') }), 'Too many: 257: must have at most 256 items'),
  wrong(match('my-('), 'must be a regular expression', 'for example ^my-[a-z]+$'),
  wrong(match('*'), 'must be a regular expression'),
  wrong(match('[z-a]'), 'must be a regular expression'),
  wrong(match('(?!kube-).*'), 'no look-ahead'),
  wrong(match('(?i)my-.*'), 'no flags'),
  wrong(match('\\pL+'), 'must be a regular expression'),
  wrong(match('[[:alpha:]]'), 'must be a regular expression'),
  wrong(match('a{1001}'), 'must be a regular expression'),
  wrong(match(long(257)), 'Too long', '256'),
  wrong(allowed('33 expressions', { match: times(33, 'a') }), 'Too many: 33: must have at most 32 items'),
  wrong(expression('In without values', { key: 'team', operator: 'In' }), 'In and NotIn need values'),
  wrong(
    expression('In with no values', { key: 'team', operator: 'In', values: [] }),
    'In and NotIn need values',
  ),
  wrong(
    expression('Exists with values', { key: 'team', operator: 'Exists', values: ['a'] }),
    'Exists and DoesNotExist must not have values',
  ),
  wrong(
    expression('operator unknown', { key: 'team', operator: '=', values: ['a'] }),
    '"In", "NotIn", "Exists", "DoesNotExist"',
  ),
  wrong(expression('a key with a space', { key: 'my team', operator: 'Exists' }), 'key must be a label key'),
  wrong(
    expression('a value with a space', { key: 'team', operator: 'In', values: ['my team'] }),
    'must be a label value',
  ),
  wrong(
    allowed('a label with a space', { selector: { matchLabels: { team: 'my team' } } }),
    'must be valid Kubernetes labels, for example team: payments',
  ),
];

const RIGHT: readonly Right[] = [
  addressing('Pod', { mode: 'Pod' }),
  addressing('the short form of a name', { mode: 'DNS', dnsSuffix: '' }),
  upstream('addressing: 16 backends with as many labels as there may be', {
    backends: times(16, {
      ...service,
      addressing: {
        mode: 'Node',
        nodeAddressType: 'ExternalIP',
        nodeSelector: {
          matchLabels: manyLabels(8),
          matchExpressions: times(4, { key: 'a', operator: 'In', values: times(16, long(63)) }),
        },
      },
    }),
  }),
  connection('addressing', { addressing: { mode: 'Node', nodeSelector: { matchLabels: { edge: 'yes' } } } }),
  endpoints('nothing', {}),
  endpoints('everything', {
    family: 'IPv6',
    drain: 'ZeroWeight',
    zones: [{ zone: 'eu-1a', priority: 100, weight: 0 }, { zone: 'eu-1b' }],
  }),
  upstream('as little as possible', {}),
  upstream('16 backends', { backends: times(16, service) }),
  serviceName('default/cms:http'),
  serviceName('default/cms:8080'),
  serviceName('a/b:c'),
  servicePort(1),
  servicePort(65_535),
  servicePort('h2c'),
  servicePort('a-name-of-15-ch'),
  backend('weight 0', { ...service, weight: 0 }),
  backend('weight 100', { ...service, weight: 100 }),
  host('2001:db8::1'),
  host('::'),
  host('::ffff:192.0.2.1'),
  host('255.255.255.255'),
  host('example.com'),
  host('1.example.com'),
  host('_srv.example.com'),
  host(`${long(251)}.b`),
  host('localhost'),
  host('Localhost'),
  host('7.0xample.com'),
  connection('ranges', {
    addresses: {
      allow: ['127.0.0.0/8', '::1/128', 'fe80::/10', '::ffff:0:0/96'],
      deny: ['0.0.0.0/0', '::/0'],
    },
  }),
  connection('64 ranges', {
    addresses: { allow: times(64, '255.255.255.255/32'), deny: times(64, `${'ffff:'.repeat(7)}ffff/128`) },
  }),
  backend('128 addresses', { addresses: times(128, { host: '192.0.2.1', port: 65_535 }) }),
  address('least of all', { port: 1, weight: 0, priority: -100 }),
  address('most of all', { port: 65_535, weight: 100, priority: 100 }),
  upstream('upstreamId of 64', { upstreamId: long(64) }),
  upstream('upstreamId of one dot and more', { upstreamId: '.a' }),
  readTimeout('1ms'),
  readTimeout('24h'),
  readTimeout('1h59m59.999s'),
  readTimeout('0.001s'),
  readTimeout('86400000ms'),
  upstream('no retries', { retries: 0 }),
  upstream('1000 retries', { retries: 1000 }),
  upstream('deletionTimeout none', { deletionTimeout: '0s' }),
  upstream('deletionTimeout of a week', { deletionTimeout: '168h' }),
  hash('Consumer', { type: 'ConsistentHash', hashOn: 'Consumer' }),
  hash('an argument', { type: 'ConsistentHash', key: 'arg_user-id' }),
  hash('a header', { type: 'ConsistentHash', hashOn: 'Header', key: 'X-User_Id' }),
  hash('several', { type: 'ConsistentHash', hashOn: 'VarsCombinations', key: '$host$remote_addr' }),
  hostHeader('nothing', {}),
  hostHeader('Node', { type: 'Node' }),
  hostHeader('with port', { type: 'Rewrite', value: 'shop.example.com:8443' }),
  hostHeader('IPv6', { type: 'Rewrite', value: '[2001:db8::1]:80' }),
  upstream('retryTimeout without limit', { retryTimeout: '0s' }),
  upstream('retryTimeout of a day', { retryTimeout: '24h' }),
  keepalive('nothing', {}),
  keepalive('least of all', { size: 1, idleTimeout: '0s', requests: 1 }),
  keepalive('most of all', { size: 100_000, idleTimeout: '24h', requests: 1_000_000_000 }),
  active('nothing', {}),
  active('least of all', {
    timeout: '1ms',
    concurrency: 1,
    port: 1,
    healthy: { interval: '1s', statuses: [200], successes: 1 },
    unhealthy: { interval: '1s', statuses: [599], httpFailures: 1, tcpFailures: 1, timeouts: 1 },
  }),
  active('most of all', {
    type: 'TCP',
    timeout: '1h',
    concurrency: 1000,
    method: 'PURGE',
    path: `/${long(1023)}`,
    host: 'a.example:80',
    port: 65_535,
    headers: times(16, 'User-Agent: a "b"'),
    body: '\u{1f600}'.repeat(4096),
    verifyCertificate: false,
    healthy: {
      interval: '23h59m60s',
      statuses: Array.from({ length: 64 }, (_, n) => 200 + n),
      successes: 254,
    },
  }),
  passive('nothing', {}),
  passive('never', {
    healthy: { successes: 0 },
    unhealthy: { httpFailures: 0, tcpFailures: 0, timeouts: 0 },
  }),
  tls('nothing', {}),
  tls('a Secret', { clientCertificateSecretRef: { name: 'web.tls' }, verify: true }),
  labels('none', {}),
  labels('most of all', { [long(128)]: long(256), 'example.com/a(b)': '{"a":1}' }),
  upstream('no description', { description: '' }),
  upstream('description of 256', { description: '\u{1f600}'.repeat(256) }),
  overrides('none', {}),
  overrides('unknown to us', { name: 'a', some: { deep: [1, null, 'a'] } }),
  connection('as little as possible', {}),
  adminUrl('https://[2001:db8::1]:9180/admin/'),
  adminUrl('http://192.0.2.10'),
  controlApi('URLs', {
    urls: ['http://10.0.0.1:9090', 'https://[2001:db8::1]:9090/one', 'http://control.apisix'],
  }),
  controlApi('64 URLs', { urls: Array.from({ length: 64 }, (_, n) => `http://10.0.0.${n}:9090`) }),
  controlApi('a Service', { serviceRef: control }),
  controlApi('a port by name', { serviceRef: { ...control, port: 'control' } }),
  adminUrl('http://apisix:65535'),
  connection('idPrefix of 32', { idPrefix: long(32) }),
  connection('limits', { limits: { concurrency: 64, requestsPerSecond: 10_000 } }),
  allowed('everything', { all: true, notMatch: ['kube-.*'] }),
  allowed('nothing', { all: false, names: [], match: [], selector: {} }),
  match('^my-[a-z]+$'),
  match('(?:team|shop)-[a-z0-9-]{1,20}?(-(dev|prod))?'),
  match('[^a-c\\d.-]+\\.?\\w*'),
  expression('DoesNotExist', { key: 'example.com/team', operator: 'DoesNotExist' }),
  expression('In', { key: 'team', operator: 'In', values: ['', 'a_b.c-d'] }),
  allowed('labels', { selector: { matchLabels: { 'app.kubernetes.io/part-of': 'shop', team: '' } } }),
];

const PATHS: Readonly<Record<Kind, string>> = {
  GatewayUpstream: `${GROUP_PATH}/namespaces/default/gatewayupstreams`,
  GatewayConnection: `${GROUP_PATH}/gatewayconnections`,
};

interface Answer {
  readonly accepted: boolean;
  readonly message: string;
  readonly spec: unknown;
}

function object(kind: Kind, spec: unknown) {
  return {
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind,
    metadata: { name: 'admission' },
    ...(spec === undefined ? {} : { spec }),
  };
}

/** The API server's response to a dry-run creation with this spec. */
async function create(
  kind: Kind,
  spec: unknown,
  { unknownFields = 'Strict' }: { readonly unknownFields?: 'Strict' | 'Ignore' } = {},
): Promise<Answer> {
  const query = `dryRun=All&fieldValidation=${unknownFields}`;
  const { status, body } = await cluster.request('POST', `${PATHS[kind]}?${query}`, object(kind, spec));
  const { message = '', spec: stored } = body as { readonly message?: string; readonly spec?: unknown };
  if (status !== 201 && status !== 422 && status !== 400) throw new Error(`${status} ${message}`);
  return { accepted: status === 201, message, spec: stored };
}
/** The spec as the operator reads it. */
function program(kind: Kind, spec: unknown) {
  const metadata = { name: 'admission', uid: 'b2c8f1f0', namespace: 'default' };
  const trim = kind === 'GatewayUpstream' ? transformGatewayUpstream : transformGatewayConnection;
  const parsed = trim({ metadata, spec })?.spec;
  if (parsed === undefined) throw new Error('an object with name and uid was not taken');
  return parsed;
}

beforeAll(async () => {
  await installCrds(cluster);
});

describe('an invalid spec', () => {
  // An object that is older than the rule keeps a valid spec. HostPolicy removes its nodes.
  it('is rejected with a host without a dot, only in new objects', async () => {
    const { kind, spec } = host('db');
    const { accepted, message } = await create(kind, spec);
    expect(accepted).toBe(false);
    expect(message).toContain(
      'a name without a dot can resolve to a Service inside the cluster: use serviceRef',
    );
    expect(program(kind, spec).ok).toBe(true);
  });

  it.each(WRONG)('is rejected with a remedy: $kind: $name', async ({ kind, spec, says }) => {
    const { accepted, message } = await create(kind, spec);
    expect(accepted).toBe(false);
    for (const part of says) expect(message).toContain(part);
    expect(program(kind, spec).ok, 'the program takes what the API server refuses').toBe(false);
  });

  it('has enough cases of both kinds', () => {
    expect(new Set(WRONG.map(({ kind, name }) => `${kind}: ${name}`)).size).toBe(WRONG.length);
    expect(WRONG.length).toBeGreaterThanOrEqual(100);
  });
});

describe('a valid spec', () => {
  it.each(RIGHT)('is accepted at its limits: $kind: $name', async ({ kind, spec }) => {
    const { accepted, message, spec: stored } = await create(kind, spec);
    expect(message).toBe('');
    expect(accepted).toBe(true);
    expect(program(kind, spec)).toMatchObject({ ok: true });
    expect(program(kind, stored)).toEqual(program(kind, spec));
  });
});

describe('an unknown field', () => {
  it.each([
    [backend('in a backend', { ...service, wieght: 1 }), 'spec.backends[0].wieght'],
    [upstream('in spec', { nodes: [] }), 'spec.nodes'],
    [
      backend('in a reference', { serviceRef: { name: 'web', port: 80, protocol: 'TCP' } }),
      'serviceRef.protocol',
    ],
    [connection('in the section', { apisix: { ...apisix, adminKey: 'secret' } }), 'spec.apisix.adminKey'],
    [allowed('in allowedNamespaces', { regex: ['a'] }), 'spec.allowedNamespaces.regex'],
  ])('is named: $0.kind: $0.name', async ({ kind, spec }, field) => {
    const { accepted, message } = await create(kind, spec);
    expect(accepted).toBe(false);
    expect(message).toContain(`unknown field "`);
    expect(message).toContain(`${field}"`);
  });
});

describe('an immutable field', () => {
  const group = { apiVersion: 'gatewayupstream.dev/v1alpha1' };
  const main = `admission-${process.pid}`;
  let namespace: string;

  const store = async (path: string, body: object) => {
    const { status, body: answer } = await cluster.request('POST', path, body);
    expect(answer).toMatchObject({ kind: expect.stringMatching(/^Gateway/) });
    expect(status).toBe(201);
  };
  /** The API server's response to a dry-run merge patch of a stored object's spec. */
  const change = async (kind: Kind, name: string, spec: Spec) => {
    const folder =
      kind === 'GatewayUpstream'
        ? `${GROUP_PATH}/namespaces/${namespace}/gatewayupstreams`
        : PATHS.GatewayConnection;
    const { status, body } = await cluster.request('PATCH', `${folder}/${name}?dryRun=All`, { spec });
    const { message = '' } = body as { readonly message?: string };
    if (status !== 200 && status !== 422) throw new Error(`${status} ${message}`);
    return { accepted: status === 200, message };
  };

  beforeAll(async () => {
    namespace = await cluster.newNamespace('admission');
    const upstreams = `${GROUP_PATH}/namespaces/${namespace}/gatewayupstreams`;
    const kind = 'GatewayUpstream';
    await store(upstreams, {
      ...group,
      kind,
      metadata: { name: 'named' },
      spec: { connectionRef: { name: 'main' }, upstreamId: 'named', backends: [service] },
    });
    await store(upstreams, { ...group, kind, metadata: { name: 'plain' }, spec: { backends: [service] } });
    await store(PATHS.GatewayConnection, {
      ...group,
      kind: 'GatewayConnection',
      metadata: { name: main },
      spec: { type: 'APISIX', apisix, idPrefix: 'eu-' },
    });
  });

  afterAll(async () => {
    await cluster.request('DELETE', `${PATHS.GatewayConnection}/${main}`);
  });

  const another = 'delete this object and create a new one';
  const id = ['spec.upstreamId: Invalid value: ', 'upstreamId is immutable and cannot be added or removed'];
  const ref = ['spec.connectionRef: Invalid value: ', 'connectionRef is immutable'];

  it.each([
    ['connectionRef changed', 'named', { connectionRef: { name: 'other' } }, ref],
    ['connectionRef removed', 'named', { connectionRef: null }, ref],
    ['connectionRef added', 'plain', { connectionRef: { name: 'main' } }, ref],
    ['upstreamId changed', 'named', { upstreamId: 'other' }, id],
    ['upstreamId removed', 'named', { upstreamId: null }, id],
    ['upstreamId added', 'plain', { upstreamId: 'plain' }, id],
  ])('of GatewayUpstream: rejects %s', async (_, name, spec, says) => {
    const { accepted, message } = await change('GatewayUpstream', name, spec);
    expect(accepted).toBe(false);
    for (const part of [...says, another]) expect(message).toContain(part);
  });

  it.each([
    ['changed', { idPrefix: 'us-' }],
    ['removed', { idPrefix: null }],
  ])('of GatewayConnection: rejects idPrefix %s', async (_, spec) => {
    const { accepted, message } = await change('GatewayConnection', main, spec);
    expect(accepted).toBe(false);
    expect(message).toContain('idPrefix is immutable, because routes refer to ids that start with it');
  });

  it('does not prevent changes of other fields', async () => {
    const changed = [
      await change('GatewayUpstream', 'named', {
        backends: [{ serviceName: 'default/web:http', weight: 2 }],
        deletionPolicy: 'Orphan',
        loadBalancing: { type: 'EWMA' },
        scheme: 'GRPC',
      }),
      await change('GatewayUpstream', 'plain', { connectionRef: { name: 'default' }, retries: 1 }),
      await change('GatewayConnection', main, {
        apisix: { adminUrl: 'https://other:9180' },
        allowedNamespaces: { all: true },
      }),
    ];
    expect(changed.map(({ message }) => message)).toEqual(['', '', '']);
  });
});

/** Mostly a valid value, so that a spec with many fields can be valid; otherwise an invalid or generated one. */
function mostly(right: readonly unknown[], wrong: readonly unknown[], made?: fc.Arbitrary<unknown>) {
  return fc.oneof(
    { weight: 60, arbitrary: fc.constantFrom(...right) },
    { weight: 1, arbitrary: fc.constantFrom(...wrong) },
    ...(made === undefined ? [] : [{ weight: 6, arbitrary: made }]),
  );
}

const textOf = (characters: string, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...characters), maxLength });
const name = mostly(['web', 'a', 'a-1'], ['', 'Web', 'a.b', long(64), 7], textOf('a1-.A', 5));
const optional = { requiredKeys: [] };

const namespaces = fc.record(
  {
    all: mostly([false], [true, 'true']),
    names: fc.array(name, { maxLength: 2 }),
    match: fc.array(mostly(['^my-[a-z]+$', 'a|b'], ['(', '(?i)a'], textOf('^$|()?:*+{}[]a-z12,\\dw.', 8)), {
      maxLength: 2,
    }),
    notMatch: fc.array(mostly(['kube-.*'], ['*']), { maxLength: 2 }),
    selector: fc.record(
      {
        matchLabels: fc.dictionary(
          mostly(['team', 'a.b/c'], ['', 'a b', '/a']) as fc.Arbitrary<string>,
          mostly(['', 'a', 'A_1.b'], ['a b', '-a', long(64)]),
          { maxKeys: 2 },
        ),
        matchExpressions: fc.array(
          fc.record(
            {
              key: mostly(['team', 'a.b/c'], ['', 'a b']),
              operator: mostly(['In', 'NotIn', 'Exists', 'DoesNotExist'], ['in']),
              values: fc.array(mostly(['', 'a'], ['a b', 1]), { maxLength: 2 }),
            },
            { requiredKeys: ['key', 'operator'] },
          ),
          { maxLength: 2 },
        ),
      },
      optional,
    ),
  },
  optional,
);

const someConnection = fc.record(
  {
    type: mostly(['APISIX'], ['Kong']),
    apisix: fc.record(
      {
        adminUrl: mostly(
          ['http://apisix:9180', 'https://192.0.2.1/a/', 'http://[::1]:65535'],
          ['', 'apisix', 'http://a@b', 'http://a:65536', 'http://1.2.3'],
          textOf('a1.:/@?[_', 8).map((rest) => `http://${rest}`),
        ),
        adminKeySecretRef: fc.record(
          { name, key: mostly(['admin-key', 'A_b.c'], ['', 'a b']) },
          { requiredKeys: ['name'] },
        ),
        tls: fc.record(
          {
            caSecretRef: fc.record({ name }),
            clientCertificateSecretRef: fc.record({ name }),
            serverName: mostly(['apisix.example.com'], ['', 'a:1', 'a/b']),
            insecureSkipVerify: mostly([false], [true, 'true']),
          },
          optional,
        ),
      },
      { requiredKeys: ['adminUrl', 'adminKeySecretRef'] },
    ),
    idPrefix: mostly(['', 'eu-'], ['a/', long(33)]),
    limits: fc.record(
      { concurrency: mostly([1, 64], [0, 65]), requestsPerSecond: mostly([1, 10_000], [0, 10_001, '1']) },
      optional,
    ),
    allowedNamespaces: namespaces,
    tenantPolicy: fc.record(
      { upstreamIds: mostly(['Prefixed', 'Any'], ['any']), adoption: mostly(['Deny', 'Allow'], [true]) },
      optional,
    ),
  },
  { requiredKeys: ['type', 'apisix'] },
);

describe('the API server and the operator accept the same specs', () => {
  it.each([
    ['GatewayUpstream', fc.oneof(validSpec, brokenSpec)],
    ['GatewayConnection', someConnection],
  ] as const)('%s', async (kind, specs) => {
    let taken = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(specs, async (spec) => {
        const { accepted, message, spec: stored } = await create(kind, spec, { unknownFields: 'Ignore' });
        // The API server drops null fields, so the operator never sees them.
        const own = program(kind, accepted ? stored : spec);
        // CEL does not see these fields. The operator rejects them with a condition.
        if (accepted && !own.ok && own.message.startsWith('spec.apisix.overrides')) return;
        // zod reads no such key of a map, so the operator rejects it too.
        if (accepted && !own.ok && own.message.includes('__proto__: unknown field')) return;
        expect({ ok: own.ok, says: own.ok ? message : '' }).toEqual({ ok: accepted, says: '' });
        if (accepted) {
          const unstored = program(kind, spec);
          if (unstored.ok) expect(own).toEqual(unstored);
          taken += 1;
        } else refused += 1;
      }),
      { numRuns: 300 },
    );
    expect(Math.min(taken, refused)).toBeGreaterThan(10);
  });
});
