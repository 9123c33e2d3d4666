import type { StandIn } from './apisix-stand-in/stand-in.ts';
import { GROUP_PATH, type Workload } from './workload.ts';

/** The cluster and gateways that faults share. Faults stay in place, so each uses its own object names. */
export interface FaultStage {
  /** A working gateway. Connection `main` refers to it and allows only namespace `shop`. */
  readonly gateway: StandIn;
  /** In namespace `shop`. */
  readonly shop: Workload;
  /** In namespace `forbidden`, which connection `main` does not allow. */
  readonly forbidden: Workload;
  /** Starts another gateway with the same admin key. */
  newGateway(options?: { readonly tls?: boolean; readonly version?: string }): Promise<StandIn>;
  /** Writes a Secret in the operator's namespace. */
  secret(name: string, data: Readonly<Record<string, string>>): Promise<void>;
  /** Starts a server that gives every request this answer, in place of a registry. Resolves to its URL. */
  newRegistry(status: number, headers: Readonly<Record<string, string>>, body: string): Promise<string>;
  /** PEM of a certificate authority that issued none of the gateways' certificates. */
  readonly otherAuthority: string;
}

/** One entry of the error reference: how to cause a fault, and what the program reports about it. */
export interface Fault {
  /** The heading of the entry: the words that a user would search for. */
  readonly symptom: string;
  /** Kind and name (`namespace/name`) of the object that reports the fault. */
  readonly on: readonly ['GatewayConnection' | 'GatewayUpstream' | 'ServiceRegistry', string];
  readonly arrange: (stage: FaultStage) => Promise<void>;
  /** The condition that `kubectl describe` shows. */
  readonly condition: { readonly type: string; readonly status: string; readonly reason: string };
  /** The message of the condition, with `http://gateway:9180` in place of the gateway's address, and `registry:8500` of the registry's. */
  readonly message: string;
  /** The line of `check` after the object's name. Default: reason and message of the condition, as for every GatewayUpstream. */
  readonly check?: string;
  /** What the messages do not say, for example that this is no error. */
  readonly note?: string;
}

/** A backend that the API server rejects, and its message. */
export interface ApplyError {
  /** The heading of the entry: the words that a user would search for. */
  readonly symptom: string;
  readonly backend: object;
  readonly message: string;
}

export const APPLY_ERRORS: readonly ApplyError[] = [
  {
    symptom: 'Cluster DNS name as serviceName',
    backend: { serviceName: 'cms.default.svc.cluster.local' },
    message:
      'serviceName must be [namespace]/[name]:[portName]: write default/cms:<portName> instead of cms.default.svc.cluster.local',
  },
  {
    symptom: 'serviceName without a port name',
    backend: { serviceName: 'default/cms' },
    message: 'serviceName must be [namespace]/[name]:[portName]: write default/cms:<portName>',
  },
  {
    symptom: 'Port number in quotes',
    backend: { serviceRef: { name: 'cms', port: '80' } },
    message:
      'port must be the number (1 to 65535, without quotes) or the name of a port of the Service, for example 80 or http',
  },
  {
    symptom: 'Backend with both serviceRef and serviceName',
    backend: { serviceRef: { name: 'cms', port: 80 }, serviceName: 'default/cms:http' },
    message: 'a backend must set exactly one of serviceRef, serviceName, registryRef and addresses',
  },
];

/** The line that `check` prints, after the object's name. */
export function checkLine({ check, condition, message }: Fault): string {
  return check ?? `${condition.reason}: ${message}`;
}

const PORTS = [{ name: 'http', port: 80 }];

/** Creates a connection with faulty settings or a faulty gateway. */
async function connect(
  { shop }: FaultStage,
  name: string,
  adminUrl: string,
  {
    secret = 'gateway',
    extra = {},
    ...settings
  }: {
    readonly secret?: string;
    readonly tls?: object;
    readonly controlApi?: object;
    readonly extra?: object;
  } = {},
): Promise<void> {
  await shop.connection(name, {
    adminUrl,
    secret,
    extra: {
      apisix: { adminUrl, adminKeySecretRef: { name: secret, key: 'admin-key' }, ...settings },
      idPrefix: `${name}.`,
      ...extra,
    },
  });
}

const to = (name: string, port: number | string = 80) => ({ serviceRef: { name, port } });

async function upstream(work: Workload, name: string, backend: object, spec: object = {}): Promise<void> {
  await work.upstream(name, { connectionRef: { name: 'main' }, backends: [backend], ...spec });
}

async function service(
  work: Workload,
  name: string,
  addresses: Parameters<Workload['endpoints']>[1] = ['10.0.0.1'],
) {
  await work.service(name, PORTS);
  await work.endpoints(name, addresses);
}

/** Creates an upstream directly in the gateway, as another client would. */
async function createForeignUpstream(
  { gateway }: Pick<FaultStage, 'gateway'>,
  id: string,
  fields: object,
): Promise<void> {
  await fetch(`${gateway.adminUrl}/apisix/admin/upstreams/${id}`, {
    method: 'PUT',
    headers: { 'X-API-KEY': gateway.adminKey, 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'roundrobin', ...fields }),
  });
}

/** Creates a ServiceRegistry of type Consul. */
async function registry({ shop }: FaultStage, name: string, server: string, secret?: string): Promise<void> {
  await shop.create(`${GROUP_PATH}/serviceregistries`, {
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind: 'ServiceRegistry',
    metadata: { name },
    spec: {
      type: 'Consul',
      consul: {
        servers: [server],
        ...(secret === undefined ? {} : { tokenSecretRef: { name: secret } }),
      },
    },
  });
}

const EMPTY_ANSWER = { 'content-type': 'application/json', 'x-consul-index': '7' };

const ADOPTING = { tenantPolicy: { adoption: 'Allow' } };

const ready = (status: string, reason: string) => ({ type: 'Ready', status, reason });

export const FAULTS: readonly Fault[] = [
  {
    symptom: 'Wrong admin key (401, wrong apikey)',
    on: ['GatewayConnection', 'wrong-key'],
    async arrange(stage) {
      await stage.secret('wrong-key', { 'admin-key': 'not-the-key-0123456789' });
      await connect(stage, 'wrong-key', stage.gateway.adminUrl, { secret: 'wrong-key' });
    },
    condition: ready('False', 'Unauthorized'),
    message:
      'The gateway rejected the admin key (401, wrong apikey): correct the key in the Secret of spec.apisix.adminKeySecretRef in the GatewayConnection',
    check:
      'key: The gateway rejected the admin key (401, wrong apikey). Remedy: Correct the key in the Secret of spec.apisix.adminKeySecretRef in the GatewayConnection.',
  },
  {
    symptom: 'Read-only admin key (401, invalid method for role viewer)',
    on: ['GatewayConnection', 'read-only'],
    async arrange(stage) {
      await stage.secret('read-only', { 'admin-key': 'stand-in-viewer-key-0123456789' });
      await connect(stage, 'read-only', stage.gateway.adminUrl, { secret: 'read-only' });
      await service(stage.shop, 'reader');
      await upstream(stage.shop, 'reader', to('reader'), { connectionRef: { name: 'read-only' } });
    },
    condition: ready('False', 'Unauthorized'),
    message:
      'The gateway rejected the admin key (401, invalid method for role viewer), which is read-only: use a key with role admin',
    check:
      'key: The gateway rejected the admin key (401, invalid method for role viewer), which is read-only. Remedy: Use a key with role admin.',
  },
  {
    symptom: 'Admin key with a trailing line break',
    note: 'This is not an error. A key that was written with `echo` ends in a line break, and the operator removes it.',
    on: ['GatewayConnection', 'newline'],
    async arrange(stage) {
      await stage.secret('newline', { 'admin-key': `${stage.gateway.adminKey}\n` });
      await connect(stage, 'newline', stage.gateway.adminUrl, { secret: 'newline' });
    },
    condition: ready('True', 'Ready'),
    message: 'The gateway answers and accepts the key',
    check: 'key: read and write access',
  },
  {
    symptom: 'Admin key with invalid characters',
    on: ['GatewayConnection', 'two-lines'],
    async arrange(stage) {
      await stage.secret('two-lines', { 'admin-key': 'one\ntwo' });
      await connect(stage, 'two-lines', stage.gateway.adminUrl, { secret: 'two-lines' });
    },
    condition: ready('False', 'Unauthorized'),
    message:
      'The admin key contains invalid characters: check the Secret for line breaks and for a wrong encoding',
    check:
      'key: The admin key contains invalid characters. Remedy: Check the Secret for line breaks and for a wrong encoding.',
  },
  {
    symptom: 'Secret with the admin key not found',
    on: ['GatewayConnection', 'no-secret'],
    arrange: (stage) => connect(stage, 'no-secret', stage.gateway.adminUrl, { secret: 'not-there' }),
    condition: ready('False', 'SecretNotFound'),
    message:
      'Secret gateway-upstream-system/not-there does not exist: create what is missing, or correct the reference in spec.apisix of GatewayConnection no-secret',
    check:
      'settings: Secret gateway-upstream-system/not-there does not exist. Remedy: Create what is missing, or correct the reference in spec.apisix of GatewayConnection no-secret.',
  },
  {
    symptom: 'Secret without the entry that adminKeySecretRef names',
    on: ['GatewayConnection', 'no-entry'],
    async arrange(stage) {
      await stage.secret('no-entry', { other: 'x' });
      await connect(stage, 'no-entry', stage.gateway.adminUrl, { secret: 'no-entry' });
    },
    condition: ready('False', 'SecretNotFound'),
    message:
      'Secret gateway-upstream-system/no-entry has no key admin-key: create what is missing, or correct the reference in spec.apisix of GatewayConnection no-entry',
    check:
      'settings: Secret gateway-upstream-system/no-entry has no key admin-key. Remedy: Create what is missing, or correct the reference in spec.apisix of GatewayConnection no-entry.',
  },
  {
    symptom: 'adminUrl points to the traffic port instead of the Admin API (404)',
    on: ['GatewayConnection', 'wrong-url'],
    arrange: (stage) => connect(stage, 'wrong-url', stage.gateway.proxyUrl),
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'http://gateway:9180 answered 404, so it is not the Admin API of APISIX on etcd: correct spec.apisix.adminUrl',
    check:
      'gateway: http://gateway:9180 answered 404, so it is not the Admin API of APISIX on etcd. Remedy: Correct spec.apisix.adminUrl.',
  },
  {
    symptom: 'Connection refused: gateway down or wrong port',
    on: ['GatewayConnection', 'down'],
    async arrange(stage) {
      const gateway = await stage.newGateway();
      await gateway.stop();
      await connect(stage, 'down', gateway.adminUrl);
    },
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'http://gateway:9180 refused the connection: check that the server runs and that the port is correct',
    check:
      'gateway: http://gateway:9180 refused the connection. Remedy: Check that the server runs and that the port is correct.',
  },
  {
    symptom: 'Connection refused: Control API listens on loopback only',
    note: 'Conditions stay unchanged, because data-plane verification never changes a condition. Only `check` reports it.',
    on: ['GatewayConnection', 'loopback'],
    async arrange(stage) {
      const gateway = await stage.newGateway();
      await gateway.dataPlanes[0]?.stop();
      await connect(stage, 'loopback', gateway.adminUrl, { controlApi: { urls: [gateway.controlUrl] } });
    },
    condition: ready('True', 'Ready'),
    message: 'The gateway answers and accepts the key',
    check:
      'data plane http://gateway:9180: refused the connection. Remedy: Set apisix.enable_control to true, and set apisix.control.ip (by default 127.0.0.1) to an address that the operator can reach.',
  },
  {
    symptom: 'Host name of the gateway does not resolve',
    on: ['GatewayConnection', 'no-name'],
    arrange: (stage) => connect(stage, 'no-name', 'http://apisix-admin.invalid:9180'),
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'http://apisix-admin.invalid:9180 has a host name that does not resolve: correct spec.apisix.adminUrl',
    check:
      'gateway: http://apisix-admin.invalid:9180 has a host name that does not resolve. Remedy: Correct spec.apisix.adminUrl.',
  },
  {
    symptom: 'Connection closed: adminUrl starts with http:// but the gateway uses TLS',
    on: ['GatewayConnection', 'plain'],
    async arrange(stage) {
      const { adminUrl } = await stage.newGateway({ tls: true });
      await connect(stage, 'plain', adminUrl.replace('https:', 'http:'));
    },
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'http://gateway:9180 closed the connection without an answer: check the port, and whether spec.apisix.adminUrl must start with https://',
    check:
      'gateway: http://gateway:9180 closed the connection without an answer. Remedy: Check the port, and whether spec.apisix.adminUrl must start with https://.',
  },
  {
    symptom: 'TLS fails with EPROTO: adminUrl starts with https:// but the gateway uses plain HTTP',
    on: ['GatewayConnection', 'secure'],
    arrange: (stage) => connect(stage, 'secure', stage.gateway.adminUrl.replace('http:', 'https:')),
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'TLS with https://gateway:9180 failed (EPROTO): check that the gateway uses TLS on this port, or use http:// in spec.apisix.adminUrl',
    check:
      'gateway: TLS with https://gateway:9180 failed (EPROTO). Remedy: Check that the gateway uses TLS on this port, or use http:// in spec.apisix.adminUrl.',
  },
  {
    symptom: 'Certificate of the gateway is not trusted: no CA configured',
    on: ['GatewayConnection', 'no-ca'],
    async arrange(stage) {
      await connect(stage, 'no-ca', (await stage.newGateway({ tls: true })).adminUrl);
    },
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'https://gateway:9180 has a certificate that is not trusted (UNABLE_TO_VERIFY_LEAF_SIGNATURE): set caSecretRef to the CA of the gateway, or serverName to a name in its certificate, in spec.apisix.tls of the GatewayConnection',
    check:
      'gateway: https://gateway:9180 has a certificate that is not trusted (UNABLE_TO_VERIFY_LEAF_SIGNATURE). Remedy: Set caSecretRef to the CA of the gateway, or serverName to a name in its certificate, in spec.apisix.tls of the GatewayConnection.',
  },
  {
    symptom: 'Certificate of the gateway is not trusted: wrong CA in the Secret',
    on: ['GatewayConnection', 'wrong-ca'],
    async arrange(stage) {
      await stage.secret('wrong-ca', { 'ca.crt': stage.otherAuthority });
      await connect(stage, 'wrong-ca', (await stage.newGateway({ tls: true })).adminUrl, {
        tls: { caSecretRef: { name: 'wrong-ca' } },
      });
    },
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'https://gateway:9180 has a certificate that is not trusted (UNABLE_TO_VERIFY_LEAF_SIGNATURE): set caSecretRef to the CA of the gateway, or serverName to a name in its certificate, in spec.apisix.tls of the GatewayConnection',
    check:
      'gateway: https://gateway:9180 has a certificate that is not trusted (UNABLE_TO_VERIFY_LEAF_SIGNATURE). Remedy: Set caSecretRef to the CA of the gateway, or serverName to a name in its certificate, in spec.apisix.tls of the GatewayConnection.',
  },
  {
    symptom: 'Request to the gateway times out',
    on: ['GatewayConnection', 'slow'],
    async arrange(stage) {
      const gateway = await stage.newGateway();
      gateway.addFault({ fault: { kind: 'hang' } });
      await connect(stage, 'slow', gateway.adminUrl);
    },
    note: 'In this test, `requestTimeout` of the operator is 2 s, and `check` runs with the default of 5 s.',
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'http://gateway:9180 did not answer within 2000 ms: check the load of the gateway, or increase requestTimeout in the configuration of the operator',
    check:
      'gateway: http://gateway:9180 did not answer within 5000 ms. Remedy: Check the load of the gateway, or increase requestTimeout in the configuration of the operator.',
  },
  {
    symptom: 'Gateway answers with HTML instead of JSON',
    on: ['GatewayConnection', 'html'],
    async arrange(stage) {
      const gateway = await stage.newGateway();
      gateway.addFault({
        fault: { kind: 'answer', status: 200, body: '<html>hello</html>', contentType: 'text/html' },
      });
      await connect(stage, 'html', gateway.adminUrl);
    },
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'http://gateway:9180 answered 200 without JSON: check that spec.apisix.adminUrl is the address of the Admin API of APISIX',
    check:
      'gateway: http://gateway:9180 answered 200 without JSON. Remedy: Check that spec.apisix.adminUrl is the address of the Admin API of APISIX.',
  },
  {
    symptom: 'APISIX rejects the IP address of the operator (403, allow_admin)',
    on: ['GatewayConnection', 'not-let-in'],
    async arrange(stage) {
      const gateway = await stage.newGateway();
      gateway.addFault({
        fault: { kind: 'answer', status: 403, body: '<html>403 Forbidden</html>', contentType: 'text/html' },
      });
      await connect(stage, 'not-let-in', gateway.adminUrl);
    },
    condition: ready('False', 'Unauthorized'),
    message:
      'The gateway rejected the address of the operator (403): add it to deployment.admin.allow_admin in the configuration of APISIX',
    check:
      'key: The gateway rejected the address of the operator (403). Remedy: Add it to deployment.admin.allow_admin in the configuration of APISIX.',
  },
  {
    symptom: 'APISIX cannot reach etcd (503, has no healthy etcd endpoint available)',
    on: ['GatewayConnection', 'no-etcd'],
    async arrange(stage) {
      const gateway = await stage.newGateway();
      gateway.addFault({
        fault: {
          kind: 'answer',
          status: 503,
          body: '{"error_msg":"has no healthy etcd endpoint available"}',
        },
      });
      await connect(stage, 'no-etcd', gateway.adminUrl);
    },
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'http://gateway:9180 answered 503 (has no healthy etcd endpoint available): check the log of the gateway',
    check:
      'gateway: http://gateway:9180 answered 503 (has no healthy etcd endpoint available). Remedy: Check the log of the gateway.',
  },
  {
    symptom: 'Gateway answers with a redirect, for example to a login page',
    on: ['GatewayConnection', 'redirect'],
    async arrange(stage) {
      const gateway = await stage.newGateway();
      gateway.addFault({
        fault: { kind: 'answer', status: 302, body: '', headers: { location: 'https://login.example.com/' } },
      });
      await connect(stage, 'redirect', gateway.adminUrl);
    },
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'http://gateway:9180 answered with a redirect (302), which the operator does not follow, because the request contains the admin key: correct spec.apisix.adminUrl',
    check:
      'gateway: http://gateway:9180 answered with a redirect (302), which the operator does not follow, because the request contains the admin key. Remedy: Correct spec.apisix.adminUrl.',
  },
  {
    symptom: 'GatewayConnection not found',
    on: ['GatewayUpstream', 'shop/no-connection'],
    async arrange({ shop }) {
      await upstream(shop, 'no-connection', to('web'), { connectionRef: { name: 'nowhere' } });
    },
    condition: ready('False', 'ConnectionNotFound'),
    message: 'GatewayConnection nowhere does not exist: create it, or refer to another one in a new object',
  },
  {
    symptom: 'Namespace not allowed to use the GatewayConnection',
    on: ['GatewayUpstream', 'forbidden/web'],
    arrange: ({ forbidden }) => upstream(forbidden, 'web', to('web')),
    condition: ready('False', 'NamespaceNotAllowed'),
    message:
      'GatewayConnection main does not allow namespace forbidden: ask the platform team to add it to spec.allowedNamespaces',
  },
  {
    symptom: 'Upstream id outside the prefix of the namespace',
    on: ['GatewayUpstream', 'shop/bad-id'],
    arrange: ({ shop }) => upstream(shop, 'bad-id', to('web'), { upstreamId: 'other.web' }),
    condition: ready('False', 'IdNotAllowed'),
    message:
      'GatewayConnection main allows only upstream ids that begin with "shop." and have at least one more character: use such an id in a new object, or ask the platform team to set spec.tenantPolicy.upstreamIds to Any',
  },
  {
    symptom: 'Upstream id already used by another GatewayUpstream',
    on: ['GatewayUpstream', 'shop/second'],
    async arrange({ shop }) {
      await service(shop, 'twice');
      await upstream(shop, 'first', to('twice'), { upstreamId: 'shop.twice' });
      await upstream(shop, 'second', to('twice'), { upstreamId: 'shop.twice' });
    },
    condition: ready('False', 'IdTaken'),
    message:
      'GatewayUpstream shop/first already uses upstream id shop.twice in this connection: set another upstreamId in a new object',
  },
  {
    symptom: 'Upstream already exists in the gateway and belongs to another client',
    on: ['GatewayUpstream', 'shop/squatted'],
    async arrange({ gateway, shop }) {
      await createForeignUpstream({ gateway }, 'shop.squatted', { nodes: [] });
      await service(shop, 'squatted');
      await upstream(shop, 'squatted', to('squatted'));
    },
    condition: ready('False', 'NotOwned'),
    message:
      'The gateway already has upstream shop.squatted, and it has no ownership labels of this operator: set another upstreamId in a new object, take it over with adoptionPolicy IfUnowned, or delete that upstream in the gateway',
  },
  {
    symptom: 'adoptionPolicy IfUnowned not allowed',
    on: ['GatewayUpstream', 'shop/grabs'],
    arrange: ({ shop }) => upstream(shop, 'grabs', to('web'), { adoptionPolicy: 'IfUnowned' }),
    condition: ready('False', 'AdoptionDenied'),
    message:
      'GatewayConnection main does not allow adoptionPolicy IfUnowned, which changes upstreams that other clients created: remove it, or ask the platform team to set spec.tenantPolicy.adoption to Allow',
  },
  {
    symptom: 'Upstream not taken over: it has fields that the spec does not set',
    on: ['GatewayUpstream', 'shop/unstated'],
    async arrange(stage) {
      await connect(stage, 'adopting', stage.gateway.adminUrl, { extra: ADOPTING });
      await createForeignUpstream(stage, 'adopting.shop.unstated', {
        nodes: [],
        retries: 3,
        labels: { team: 'a' },
      });
      await service(stage.shop, 'unstated');
      await upstream(stage.shop, 'unstated', to('unstated'), {
        connectionRef: { name: 'adopting' },
        adoptionPolicy: 'IfUnowned',
      });
    },
    condition: ready('False', 'NotOwned'),
    message:
      'Upstream adopting.shop.unstated is not taken over because it has fields that the spec does not set (labels.team, retries): add them to the spec (plan --from-apisix prints them), or remove them in the gateway',
  },
  {
    symptom: 'manage: Nodes with an upstream that does not exist',
    on: ['GatewayUpstream', 'shop/no-upstream'],
    async arrange(stage) {
      await service(stage.shop, 'no-upstream');
      await upstream(stage.shop, 'no-upstream', to('no-upstream'), {
        connectionRef: { name: 'adopting' },
        manage: 'Nodes',
      });
    },
    condition: ready('False', 'UpstreamNotFound'),
    message:
      'The gateway has no upstream adopting.shop.no-upstream, and manage Nodes does not create one: create it in the gateway; the operator writes its nodes after it next lists the upstreams',
  },
  {
    symptom: "manage: Nodes with an upstream that uses the gateway's own discovery",
    on: ['GatewayUpstream', 'shop/discovered'],
    async arrange(stage) {
      await createForeignUpstream(stage, 'adopting.shop.discovered', {
        service_name: 'shop/web:http',
        discovery_type: 'kubernetes',
      });
      await service(stage.shop, 'discovered');
      await upstream(stage.shop, 'discovered', to('discovered'), {
        connectionRef: { name: 'adopting' },
        manage: 'Nodes',
      });
    },
    condition: ready('False', 'UsesDiscovery'),
    message:
      'Upstream adopting.shop.discovered has no nodes to manage because the gateway discovers them itself (discovery_type, service_name): replace these fields with nodes in the gateway, or take the upstream over with adoptionPolicy IfUnowned instead of manage Nodes',
  },
  {
    symptom: 'Service not found',
    on: ['GatewayUpstream', 'shop/no-service'],
    arrange: ({ shop }) => upstream(shop, 'no-service', to('nothing')),
    condition: ready('False', 'ServiceNotFound'),
    message: 'Service shop/nothing does not exist: create it or correct the reference',
  },
  {
    symptom: 'Port not found in the Service',
    on: ['GatewayUpstream', 'shop/no-port'],
    async arrange({ shop }) {
      await service(shop, 'ports');
      await upstream(shop, 'no-port', to('ports', 'grpc'));
    },
    condition: ready('False', 'PortNotFound'),
    message: 'Service shop/ports has no port grpc, only 80 (http): correct the port',
  },
  {
    symptom: 'UDP port with a scheme that needs TCP',
    on: ['GatewayUpstream', 'shop/udp'],
    async arrange({ shop }) {
      await shop.service('udp', [{ name: 'dns', port: 53, protocol: 'UDP' }]);
      await upstream(shop, 'udp', to('udp', 'dns'));
    },
    condition: ready('False', 'UnsupportedProtocol'),
    message:
      'Service shop/udp has port dns only for UDP, but the scheme requires TCP: use another port or another scheme',
  },
  {
    symptom: 'No endpoint is ready (the gateway answers 503)',
    on: ['GatewayUpstream', 'shop/none-ready'],
    async arrange({ shop }) {
      await service(shop, 'none-ready', [{ address: '10.0.0.1', ready: false }]);
      await upstream(shop, 'none-ready', to('none-ready'));
    },
    condition: ready('True', 'NoReadyEndpoints'),
    message: 'No endpoint is ready, so the gateway answers 503: check the Pods behind the Service',
  },
  {
    symptom: 'All Pods become unready at once (RemovalHeld)',
    on: ['GatewayUpstream', 'shop/all-fail'],
    async arrange({ gateway, shop }) {
      await service(shop, 'all-fail', ['10.0.1.1', '10.0.1.2']);
      await upstream(shop, 'all-fail', to('all-fail'));
      for (
        let tries = 0;
        gateway.get('upstreams', 'shop.all-fail') === undefined && tries < 300;
        tries += 1
      ) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      await shop.endpoints('all-fail', [
        { address: '10.0.1.1', ready: false },
        { address: '10.0.1.2', ready: false },
      ]);
    },
    condition: { type: 'RemovalHeld', status: 'True', reason: 'RemovalHeld' },
    message:
      'Most endpoints became unavailable at once without a known cause. The gateway keeps nodes whose endpoints are not ready for up to 5m, and nodes whose endpoints vanished for up to 30s. Check the Pods. To remove these nodes now, run: kubectl annotate --overwrite -n shop gwu/all-fail gatewayupstream.dev/accept-removal=2026-01-01T00:00:00Z',
  },
  {
    symptom: 'Every backend has weight 0 (NoWeight)',
    on: ['GatewayUpstream', 'shop/no-weight'],
    async arrange({ shop }) {
      await service(shop, 'no-weight');
      await upstream(shop, 'no-weight', { ...to('no-weight'), weight: 0 });
    },
    condition: ready('True', 'NoWeight'),
    message: 'All backends have weight 0, so the upstream has no nodes: raise the weight of a backend',
  },
  {
    symptom: 'Service in another namespace without a ReferenceGrant',
    on: ['GatewayUpstream', 'shop/no-grant'],
    async arrange({ shop, forbidden }) {
      await service(forbidden, 'private');
      await upstream(shop, 'no-grant', { serviceName: 'forbidden/private:http' });
    },
    condition: ready('False', 'RefNotPermitted'),
    message:
      'Service forbidden/private is in another namespace, and no ReferenceGrant there permits the reference: create one in namespace forbidden with the spec {"from":[{"group":"gatewayupstream.dev","kind":"GatewayUpstream","namespace":"shop"}],"to":[{"group":"","kind":"Service","name":"private"}]}',
  },
  {
    symptom: 'Addressing mode Node: Service without a NodePort',
    on: ['GatewayUpstream', 'shop/no-node-port'],
    async arrange({ shop }) {
      await service(shop, 'no-node-port');
      await upstream(shop, 'no-node-port', { ...to('no-node-port'), addressing: { mode: 'Node' } });
    },
    condition: ready('False', 'NodePortMissing'),
    message:
      'Service shop/no-node-port is of type ClusterIP and has no node port for port 80: change its type to NodePort, or choose another addressing mode',
  },
  {
    symptom: 'Addressing mode Node: the operator does not watch nodes',
    on: ['GatewayUpstream', 'shop/no-nodes'],
    async arrange({ shop }) {
      await shop.service('no-nodes', PORTS, { type: 'NodePort' });
      await shop.endpoints('no-nodes', ['10.0.0.1']);
      await upstream(shop, 'no-nodes', { ...to('no-nodes'), addressing: { mode: 'Node' } });
    },
    condition: ready('Unknown', 'SourceUnavailable'),
    message:
      "Addressing mode Node requires the Nodes of the cluster, which the operator does not watch: set watchNodes to true in the operator's configuration (config.watchNodes in the chart), or choose another mode",
  },
  {
    symptom: 'Addressing mode LoadBalancer: Service without a load balancer address',
    on: ['GatewayUpstream', 'shop/no-balancer'],
    async arrange({ shop }) {
      await shop.service('no-balancer', PORTS, { type: 'LoadBalancer' });
      await shop.endpoints('no-balancer', ['10.0.0.1']);
      await upstream(shop, 'no-balancer', { ...to('no-balancer'), addressing: { mode: 'LoadBalancer' } });
    },
    condition: ready('False', 'NoLoadBalancerAddress'),
    message:
      'Service shop/no-balancer has no IPv4 load balancer address yet: check its Events, or choose another addressing mode',
  },
  {
    symptom: 'Addressing mode ClusterIP: headless Service',
    on: ['GatewayUpstream', 'shop/headless'],
    async arrange({ shop }) {
      await service(shop, 'headless');
      await upstream(shop, 'headless', { ...to('headless'), addressing: { mode: 'ClusterIP' } });
    },
    condition: ready('False', 'NoClusterIP'),
    message: 'Service shop/headless is headless and has no cluster IP: use addressing mode Pod or DNS',
  },
  {
    symptom: 'Service of type ExternalName not allowed',
    on: ['GatewayUpstream', 'shop/external'],
    async arrange({ shop }) {
      await shop.service('external', [], { type: 'ExternalName', externalName: 'db.example.com' });
      await upstream(shop, 'external', to('external', 3306));
    },
    condition: ready('False', 'StaticAddressesDenied'),
    message:
      'Service shop/external is of type ExternalName, and GatewayConnection main does not allow addresses outside the cluster: ask the platform team to set spec.tenantPolicy.staticAddresses to Allow',
  },
  {
    symptom: 'dnsSuffix not allowed',
    on: ['GatewayUpstream', 'shop/suffix'],
    async arrange({ shop }) {
      await service(shop, 'suffix');
      await upstream(shop, 'suffix', {
        ...to('suffix'),
        addressing: { mode: 'DNS', dnsSuffix: 'example.com' },
      });
    },
    condition: ready('False', 'StaticAddressesDenied'),
    message:
      'GatewayConnection main does not allow dnsSuffix "example.com": remove it, or ask the platform team to set it in spec.addressing of the connection or to set spec.tenantPolicy.staticAddresses to Allow',
  },
  {
    symptom: 'Static addresses not allowed',
    on: ['GatewayUpstream', 'shop/addresses'],
    arrange: ({ shop }) => upstream(shop, 'addresses', { addresses: [{ host: '192.0.2.1', port: 80 }] }),
    condition: ready('False', 'StaticAddressesDenied'),
    message:
      'GatewayConnection main does not allow backends with addresses: use serviceRef, or ask the platform team to set spec.tenantPolicy.staticAddresses to Allow',
  },
  {
    symptom: 'Static address is a name inside the cluster',
    on: ['GatewayUpstream', 'shop/inside'],
    async arrange(stage) {
      await connect(stage, 'addresses', stage.gateway.adminUrl, {
        extra: { tenantPolicy: { staticAddresses: 'Allow' } },
      });
      await upstream(
        stage.shop,
        'inside',
        { addresses: [{ host: 'private.forbidden', port: 80 }] },
        { connectionRef: { name: 'addresses' } },
      );
    },
    condition: ready('False', 'StaticAddressesDenied'),
    message: 'private.forbidden is a cluster-internal name: use serviceRef instead',
  },
  {
    symptom: 'Static address is a loopback address',
    on: ['GatewayUpstream', 'shop/loopback'],
    arrange: ({ shop }) =>
      upstream(
        shop,
        'loopback',
        { addresses: [{ host: '127.0.0.1', port: 9180 }] },
        { connectionRef: { name: 'addresses' } },
      ),
    condition: ready('False', 'AddressNotAllowed'),
    message:
      '127.0.0.1 is a loopback address: use another address, or ask the platform team to add it to spec.addresses.allow of the GatewayConnection',
  },
  {
    symptom: 'Secret with the client certificate not found',
    on: ['GatewayUpstream', 'shop/no-certificate'],
    async arrange({ shop }) {
      await service(shop, 'no-certificate');
      await upstream(shop, 'no-certificate', to('no-certificate'), {
        scheme: 'HTTPS',
        tls: { clientCertificateSecretRef: { name: 'client' } },
      });
    },
    condition: ready('False', 'SecretNotFound'),
    message:
      "Secret shop/client of type kubernetes.io/tls does not exist: put a certificate into tls.crt and its key into tls.key, or correct spec.tls.clientCertificateSecretRef; until then, the gateway's current configuration is unchanged, including its nodes",
  },
  {
    symptom: 'Field not supported by this version of the gateway',
    on: ['GatewayUpstream', 'shop/unheeded'],
    async arrange(stage) {
      const { adminUrl } = await stage.newGateway({ version: '3.13.0' });
      await connect(stage, 'older', adminUrl);
      await service(stage.shop, 'unheeded');
      await upstream(stage.shop, 'unheeded', to('unheeded'), {
        connectionRef: { name: 'older' },
        scheme: 'HTTPS',
        tls: { verify: true },
      });
    },
    condition: ready('False', 'UnsupportedField'),
    message:
      "spec.tls.verify cannot be used because APISIX 3.13.0 ignores this field and does not verify the certificates of nodes (changed in 3.19.0): change the spec, or upgrade the gateway; until then, the gateway's current configuration is unchanged, including its nodes",
  },
  {
    symptom: 'Gateway rejects the upstream (400)',
    on: ['GatewayUpstream', 'shop/refused'],
    async arrange({ gateway, shop }) {
      gateway.addFault({
        fault: { kind: 'answer', status: 400, body: '{"error_msg":"invalid configuration: ..."}' },
        match: ({ method, path }) => method === 'PUT' && path.endsWith('/shop.refused'),
      });
      await service(shop, 'refused');
      await upstream(shop, 'refused', to('refused'));
    },
    condition: ready('False', 'Rejected'),
    message: 'The gateway rejected the upstream (400, invalid configuration: ...): correct the spec',
  },
  {
    symptom: 'Deletion waits: a route still uses the upstream (InUse)',
    on: ['GatewayUpstream', 'shop/in-use'],
    async arrange({ gateway, shop }) {
      await service(shop, 'in-use');
      await upstream(shop, 'in-use', to('in-use'));
      for (let tries = 0; gateway.get('upstreams', 'shop.in-use') === undefined && tries < 300; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      await fetch(`${gateway.adminUrl}/apisix/admin/routes/shop`, {
        method: 'PUT',
        headers: { 'X-API-KEY': gateway.adminKey, 'content-type': 'application/json' },
        body: JSON.stringify({ uri: '/shop', upstream_id: 'shop.in-use' }),
      });
      await shop.remove(shop.upstreamPath('in-use'));
    },
    condition: ready('False', 'InUse'),
    message:
      'Deletion is pending (can not delete this upstream, route [shop] is still using it now): remove that reference, or set spec.deletionPolicy to Orphan or Force',
  },
  {
    symptom: 'syncPolicy Observe: the gateway differs from the spec',
    on: ['GatewayUpstream', 'shop/observed'],
    async arrange({ shop }) {
      await service(shop, 'observed');
      await upstream(shop, 'observed', to('observed'), { syncPolicy: 'Observe' });
    },
    condition: ready('False', 'Observed'),
    message:
      'Nothing is written because spec.syncPolicy is Observe, and the upstream in the gateway does not exist: status.plan lists what Sync would write',
  },
  {
    symptom: 'Registry refuses the connection (down, or wrong port)',
    on: ['ServiceRegistry', 'registry-down'],
    arrange: (stage) => registry(stage, 'registry-down', 'http://127.0.0.2:1'),
    condition: ready('False', 'RegistryUnavailable'),
    message: 'registry:8500 refused the connection: check that the server runs and that the port is correct',
    check:
      'server http://registry:8500/: registry:8500 refused the connection. Remedy: Check that the server runs and that the port is correct.',
    note: 'The nodes that come from the registry stay in the gateway.',
  },
  {
    symptom: 'Consul has no leader (500)',
    on: ['ServiceRegistry', 'no-consul-leader'],
    async arrange(stage) {
      await registry(stage, 'no-consul-leader', await stage.newRegistry(500, {}, 'No cluster leader'));
    },
    condition: ready('False', 'RegistryUnavailable'),
    message:
      'registry:8500 answered HTTP 500: check the log of the agent, and that the Consul servers have a leader',
    check:
      'server http://registry:8500/: registry:8500 answered HTTP 500. Remedy: Check the log of the agent, and that the Consul servers have a leader.',
  },
  {
    symptom: 'servers points to a web page, not to the registry',
    on: ['ServiceRegistry', 'web-page'],
    async arrange(stage) {
      const page = await stage.newRegistry(200, { 'content-type': 'text/html' }, '<html>Sign in</html>');
      await registry(stage, 'web-page', page);
    },
    condition: ready('False', 'RegistryUnavailable'),
    message:
      'registry:8500 answered 200 without JSON: check that the URL in servers is that of the registry, not that of a web page in front of it',
    check:
      'server http://registry:8500/: registry:8500 answered 200 without JSON. Remedy: Check that the URL in servers is that of the registry, not that of a web page in front of it.',
  },
  {
    symptom: 'Consul rejects the token (403)',
    on: ['ServiceRegistry', 'unknown-token'],
    async arrange(stage) {
      await stage.secret('consul', { token: 'a-token' });
      await registry(stage, 'unknown-token', await stage.newRegistry(403, {}, 'ACL not found'), 'consul');
    },
    condition: ready('False', 'Unauthorized'),
    message:
      'Consul at registry:8500 rejected the token (403): correct the token in the Secret of consul.tokenSecretRef, or grant it service:read and node:read',
    check:
      'server http://registry:8500/: Consul at registry:8500 rejected the token (403). Remedy: Correct the token in the Secret of consul.tokenSecretRef, or grant it service:read and node:read.',
  },
  {
    symptom: 'Consul denies requests without a token, and answers with an empty list',
    on: ['ServiceRegistry', 'without-token'],
    async arrange(stage) {
      const headers = { ...EMPTY_ANSWER, 'x-consul-default-acl-policy': 'deny' };
      await registry(stage, 'without-token', await stage.newRegistry(200, headers, '[]'));
    },
    condition: ready('False', 'Unauthorized'),
    message:
      'Consul left out instances because of its ACLs: set consul.tokenSecretRef to a token with service:read and node:read for this service',
    check:
      'server http://registry:8500/: Consul left out instances because of its ACLs. Remedy: Set consul.tokenSecretRef to a token with service:read and node:read for this service.',
  },
  {
    symptom: 'Secret of a registry does not exist',
    on: ['ServiceRegistry', 'missing-secret'],
    async arrange(stage) {
      const server = await stage.newRegistry(200, EMPTY_ANSWER, '[]');
      await registry(stage, 'missing-secret', server, 'no-such-secret');
    },
    condition: ready('False', 'SecretNotFound'),
    message:
      'Secret gateway-upstream-system/no-such-secret does not exist: create it or correct the reference',
    check:
      'settings: Secret gateway-upstream-system/no-such-secret does not exist: create it or correct the reference',
  },
];
