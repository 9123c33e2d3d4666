import type { StandIn } from './apisix-stand-in/stand-in.ts';
import type { Workload } from './workload.ts';

/** What a fault is arranged with: everything of it stays in place, so each uses names of its own. */
export interface FaultStage {
  /** A gateway that works, of connection `main`, which allows every namespace but `forbidden`. */
  readonly gateway: StandIn;
  /** In namespace `shop`. */
  readonly shop: Workload;
  /** In namespace `forbidden`, which no connection allows. */
  readonly forbidden: Workload;
  /** Another gateway of its own, by default with the same key. */
  newGateway(options?: { readonly tls?: boolean; readonly version?: string }): Promise<StandIn>;
  /** A Secret of the operator's namespace. */
  secret(name: string, data: Readonly<Record<string, string>>): Promise<void>;
  /** PEM of an authority that no gateway's certificate is from. */
  readonly otherAuthority: string;
}

/** One thing that goes wrong, and what is said about it. */
export interface Fault {
  /** As a user would name it. */
  readonly symptom: string;
  /** Kind and name (`namespace/name`) of the object that tells. */
  readonly on: readonly ['GatewayConnection' | 'GatewayUpstream', string];
  readonly arrange: (stage: FaultStage) => Promise<void>;
  /** The condition of it that `kubectl describe` shows. */
  readonly condition: { readonly type: string; readonly status: string; readonly reason: string };
  /** Its message, with `http://gateway:9180` for the gateway's address. */
  readonly message: string;
  /** The line of `check`, after the name of the object. Absent: reason and message of the condition, as for every GatewayUpstream. */
  readonly check?: string;
}

/** What `check` prints of it, after the name of the object. */
export function checkLine({ check, condition, message }: Fault): string {
  return check ?? `${condition.reason}: ${message}`;
}

const PORTS = [{ name: 'http', port: 80 }];

/** A connection of its own whose gateway or settings are at fault. */
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

/** Makes an upstream in the gateway, as somebody else would. */
async function squat({ gateway }: Pick<FaultStage, 'gateway'>, id: string, fields: object): Promise<void> {
  await fetch(`${gateway.adminUrl}/apisix/admin/upstreams/${id}`, {
    method: 'PUT',
    headers: { 'X-API-KEY': gateway.adminKey, 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'roundrobin', ...fields }),
  });
}

const ADOPTING = { tenantPolicy: { adoption: 'Allow' } };

const ready = (status: string, reason: string) => ({ type: 'Ready', status, reason });

export const FAULTS: readonly Fault[] = [
  {
    symptom: 'The admin key is wrong',
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
    symptom: 'The admin key may only read',
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
    symptom: 'The Secret was made with `echo` and its key ends in a line break: that is no fault',
    on: ['GatewayConnection', 'newline'],
    async arrange(stage) {
      await stage.secret('newline', { 'admin-key': `${stage.gateway.adminKey}\n` });
      await connect(stage, 'newline', stage.gateway.adminUrl, { secret: 'newline' });
    },
    condition: ready('True', 'Ready'),
    message: 'The gateway answers and takes the key',
    check: 'key: it may read and write',
  },
  {
    symptom: 'The Secret holds something that is no key, for example two lines',
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
    symptom: 'The Secret does not exist',
    on: ['GatewayConnection', 'no-secret'],
    arrange: (stage) => connect(stage, 'no-secret', stage.gateway.adminUrl, { secret: 'not-there' }),
    condition: ready('False', 'SecretNotFound'),
    message:
      'Secret gateway-upstream-system/not-there does not exist: create it, or correct the reference in spec.apisix of GatewayConnection no-secret',
    check:
      'settings: Secret gateway-upstream-system/not-there does not exist. Remedy: Create it, or correct the reference in spec.apisix of GatewayConnection no-secret.',
  },
  {
    symptom: 'The Secret has no entry of that name',
    on: ['GatewayConnection', 'no-entry'],
    async arrange(stage) {
      await stage.secret('no-entry', { other: 'x' });
      await connect(stage, 'no-entry', stage.gateway.adminUrl, { secret: 'no-entry' });
    },
    condition: ready('False', 'SecretNotFound'),
    message:
      'Secret gateway-upstream-system/no-entry has no key admin-key: create it, or correct the reference in spec.apisix of GatewayConnection no-entry',
    check:
      'settings: Secret gateway-upstream-system/no-entry has no key admin-key. Remedy: Create it, or correct the reference in spec.apisix of GatewayConnection no-entry.',
  },
  {
    symptom: 'adminUrl leads to the port for traffic instead of the Admin API',
    on: ['GatewayConnection', 'wrong-url'],
    arrange: (stage) => connect(stage, 'wrong-url', stage.gateway.proxyUrl),
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'http://gateway:9180 answered 404, so it is not the Admin API of APISIX on etcd: correct spec.apisix.adminUrl',
    check:
      'gateway: http://gateway:9180 answered 404, so it is not the Admin API of APISIX on etcd. Remedy: Correct spec.apisix.adminUrl.',
  },
  {
    symptom: 'The gateway is down, or the port is wrong',
    on: ['GatewayConnection', 'down'],
    async arrange(stage) {
      const gateway = await stage.newGateway();
      await gateway.stop();
      await connect(stage, 'down', gateway.adminUrl);
    },
    condition: ready('False', 'GatewayUnavailable'),
    message: 'http://gateway:9180 refused the connection: check that it runs, and that the port is right',
    check:
      'gateway: http://gateway:9180 refused the connection. Remedy: Check that it runs, and that the port is right.',
  },
  {
    symptom: 'A data plane serves its Control API on loopback only: that changes no condition',
    on: ['GatewayConnection', 'loopback'],
    async arrange(stage) {
      const gateway = await stage.newGateway();
      await gateway.dataPlanes[0]?.stop();
      await connect(stage, 'loopback', gateway.adminUrl, { controlApi: { urls: [gateway.controlUrl] } });
    },
    condition: ready('True', 'Ready'),
    message: 'The gateway answers and takes the key',
    check:
      'data plane http://gateway:9180: refused the connection. Remedy: Set apisix.enable_control to true, and set apisix.control.ip (by default 127.0.0.1) to an address that the operator can reach.',
  },
  {
    symptom: 'The name of the gateway does not exist',
    on: ['GatewayConnection', 'no-name'],
    arrange: (stage) => connect(stage, 'no-name', 'http://apisix-admin.invalid:9180'),
    condition: ready('False', 'GatewayUnavailable'),
    message: 'http://apisix-admin.invalid:9180 is a name that does not resolve: correct spec.apisix.adminUrl',
    check:
      'gateway: http://apisix-admin.invalid:9180 is a name that does not resolve. Remedy: Correct spec.apisix.adminUrl.',
  },
  {
    symptom: 'The gateway speaks TLS, and adminUrl begins with http://',
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
    symptom: 'adminUrl begins with https://, and the gateway speaks plain HTTP',
    on: ['GatewayConnection', 'secure'],
    arrange: (stage) => connect(stage, 'secure', stage.gateway.adminUrl.replace('http:', 'https:')),
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'TLS with https://gateway:9180 failed (EPROTO): check that the gateway uses TLS on this port, or use http:// in spec.apisix.adminUrl',
    check:
      'gateway: TLS with https://gateway:9180 failed (EPROTO). Remedy: Check that the gateway uses TLS on this port, or use http:// in spec.apisix.adminUrl.',
  },
  {
    symptom: "The gateway's certificate is from an authority that nobody named",
    on: ['GatewayConnection', 'no-ca'],
    async arrange(stage) {
      await connect(stage, 'no-ca', (await stage.newGateway({ tls: true })).adminUrl);
    },
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'https://gateway:9180 has a certificate that is not trusted (UNABLE_TO_VERIFY_LEAF_SIGNATURE): set caSecretRef or serverName in spec.apisix.tls of the GatewayConnection',
    check:
      'gateway: https://gateway:9180 has a certificate that is not trusted (UNABLE_TO_VERIFY_LEAF_SIGNATURE). Remedy: Set caSecretRef or serverName in spec.apisix.tls of the GatewayConnection.',
  },
  {
    symptom: 'The CA in the Secret is the wrong one',
    on: ['GatewayConnection', 'wrong-ca'],
    async arrange(stage) {
      await stage.secret('wrong-ca', { 'ca.crt': stage.otherAuthority });
      await connect(stage, 'wrong-ca', (await stage.newGateway({ tls: true })).adminUrl, {
        tls: { caSecretRef: { name: 'wrong-ca' } },
      });
    },
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'https://gateway:9180 has a certificate that is not trusted (UNABLE_TO_VERIFY_LEAF_SIGNATURE): set caSecretRef or serverName in spec.apisix.tls of the GatewayConnection',
    check:
      'gateway: https://gateway:9180 has a certificate that is not trusted (UNABLE_TO_VERIFY_LEAF_SIGNATURE). Remedy: Set caSecretRef or serverName in spec.apisix.tls of the GatewayConnection.',
  },
  {
    symptom: 'The gateway takes too long',
    on: ['GatewayConnection', 'slow'],
    async arrange(stage) {
      const gateway = await stage.newGateway();
      gateway.addFault({ fault: { kind: 'hang' } });
      await connect(stage, 'slow', gateway.adminUrl);
    },
    condition: ready('False', 'GatewayUnavailable'),
    message:
      'http://gateway:9180 did not answer within 2000 ms: check the load of the gateway, or increase requestTimeout in the configuration of the operator',
    check:
      'gateway: http://gateway:9180 did not answer within 5000 ms. Remedy: Check the load of the gateway, or increase requestTimeout in the configuration of the operator.',
  },
  {
    symptom: 'Something else answers, in HTML',
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
    symptom: 'APISIX does not let the address of the operator in',
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
    symptom: "APISIX's etcd is down",
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
    symptom: 'The gateway redirects, for example to a login page',
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
    symptom: 'There is no GatewayConnection of that name',
    on: ['GatewayUpstream', 'shop/no-connection'],
    async arrange({ shop }) {
      await upstream(shop, 'no-connection', to('web'), { connectionRef: { name: 'nowhere' } });
    },
    condition: ready('False', 'ConnectionNotFound'),
    message: 'There is no GatewayConnection nowhere: create it, or refer to another one in a new object',
  },
  {
    symptom: 'The namespace is not allowed to use the gateway',
    on: ['GatewayUpstream', 'forbidden/web'],
    arrange: ({ forbidden }) => upstream(forbidden, 'web', to('web')),
    condition: ready('False', 'NamespaceNotAllowed'),
    message:
      'GatewayConnection main does not allow namespace forbidden: its owner can add it to spec.allowedNamespaces',
  },
  {
    symptom: "The upstream id is outside the namespace's prefix",
    on: ['GatewayUpstream', 'shop/bad-id'],
    arrange: ({ shop }) => upstream(shop, 'bad-id', to('web'), { upstreamId: 'other.web' }),
    condition: ready('False', 'IdNotAllowed'),
    message:
      'GatewayConnection main takes only upstream ids that begin with "shop." and go on: choose such an id, or its owner sets spec.tenantPolicy.upstreamIds to Any',
  },
  {
    symptom: 'Two objects want the same upstream id',
    on: ['GatewayUpstream', 'shop/second'],
    async arrange({ shop }) {
      await service(shop, 'twice');
      await upstream(shop, 'first', to('twice'), { upstreamId: 'shop.twice' });
      await upstream(shop, 'second', to('twice'), { upstreamId: 'shop.twice' });
    },
    condition: ready('False', 'IdTaken'),
    message:
      'GatewayUpstream shop/first has upstream id shop.twice of this connection already: choose another upstreamId in a new object',
  },
  {
    symptom: 'The gateway already has an upstream of that id, made by somebody else',
    on: ['GatewayUpstream', 'shop/squatted'],
    async arrange({ gateway, shop }) {
      await squat({ gateway }, 'shop.squatted', { nodes: [] });
      await service(shop, 'squatted');
      await upstream(shop, 'squatted', to('squatted'));
    },
    condition: ready('False', 'NotOwned'),
    message:
      'The gateway already has an upstream shop.squatted, and it carries no labels of this operator: choose another upstreamId, take it over with adoptionPolicy IfUnowned, or delete that one in the gateway',
  },
  {
    symptom: 'An upstream of somebody else is to be taken over, and the connection does not allow that',
    on: ['GatewayUpstream', 'shop/grabs'],
    arrange: ({ shop }) => upstream(shop, 'grabs', to('web'), { adoptionPolicy: 'IfUnowned' }),
    condition: ready('False', 'AdoptionDenied'),
    message:
      "GatewayConnection main does not allow adoptionPolicy IfUnowned, since the upstream is somebody else's: remove it, or the connection's owner sets spec.tenantPolicy.adoption to Allow",
  },
  {
    symptom: 'An upstream that is to be taken over has a field that the spec does not state',
    on: ['GatewayUpstream', 'shop/unstated'],
    async arrange(stage) {
      await connect(stage, 'adopting', stage.gateway.adminUrl, { extra: ADOPTING });
      await squat(stage, 'adopting.shop.unstated', { nodes: [], retries: 3, labels: { team: 'a' } });
      await service(stage.shop, 'unstated');
      await upstream(stage.shop, 'unstated', to('unstated'), {
        connectionRef: { name: 'adopting' },
        adoptionPolicy: 'IfUnowned',
      });
    },
    condition: ready('False', 'NotOwned'),
    message:
      'Upstream adopting.shop.unstated is not taken over, since it holds labels.team, retries, which the spec does not state: add this to the spec (plan --from-apisix writes it), or remove it in the gateway',
  },
  {
    symptom: 'Nodes are to be kept of an upstream that does not exist',
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
      'The gateway has no upstream adopting.shop.no-upstream: with manage Nodes its owner creates it, and its nodes are then kept from the next sweep on',
  },
  {
    symptom: 'Nodes are to be kept of an upstream that finds them by the discovery of the gateway',
    on: ['GatewayUpstream', 'shop/discovered'],
    async arrange(stage) {
      await squat(stage, 'adopting.shop.discovered', {
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
      'Upstream adopting.shop.discovered has no nodes to keep, since the gateway finds them by itself (discovery_type, service_name): its owner replaces these fields by nodes, or take it over with adoptionPolicy IfUnowned instead of manage Nodes',
  },
  {
    symptom: 'The Service does not exist',
    on: ['GatewayUpstream', 'shop/no-service'],
    arrange: ({ shop }) => upstream(shop, 'no-service', to('nothing')),
    condition: ready('False', 'ServiceNotFound'),
    message: 'Service shop/nothing does not exist: create it or correct the reference',
  },
  {
    symptom: 'The Service has no such port',
    on: ['GatewayUpstream', 'shop/no-port'],
    async arrange({ shop }) {
      await service(shop, 'ports');
      await upstream(shop, 'no-port', to('ports', 'grpc'));
    },
    condition: ready('False', 'PortNotFound'),
    message: 'Service shop/ports has no port grpc, only 80 (http): correct the port',
  },
  {
    symptom: 'The port is for UDP, and the scheme needs TCP',
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
    symptom: 'No endpoint is ready',
    on: ['GatewayUpstream', 'shop/none-ready'],
    async arrange({ shop }) {
      await service(shop, 'none-ready', [{ address: '10.0.0.1', ready: false }]);
      await upstream(shop, 'none-ready', to('none-ready'));
    },
    condition: ready('True', 'NoReadyEndpoints'),
    message: 'No endpoint is ready, so the gateway answers 503: look at the Pods behind the Service',
  },
  {
    symptom: 'All Pods fail at once',
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
      'Most endpoints went away at once and nothing explains it: those that are listed but not ready stay in the gateway for up to 5m, those that vanished for up to 30s. Look at the Pods. To let them go now: kubectl annotate --overwrite -n shop gwu/all-fail gatewayupstream.dev/accept-removal=2026-01-01T00:00:00Z',
  },
  {
    symptom: 'Every backend has weight 0',
    on: ['GatewayUpstream', 'shop/no-weight'],
    async arrange({ shop }) {
      await service(shop, 'no-weight');
      await upstream(shop, 'no-weight', { ...to('no-weight'), weight: 0 });
    },
    condition: ready('True', 'NoWeight'),
    message: 'Every backend has weight 0, so the gateway has nothing to send traffic to: raise a weight',
  },
  {
    symptom: 'The Service is in another namespace, and nothing grants it',
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
    symptom: 'With addressing mode Node the Service has no NodePort',
    on: ['GatewayUpstream', 'shop/no-node-port'],
    async arrange({ shop }) {
      await service(shop, 'no-node-port');
      await upstream(shop, 'no-node-port', { ...to('no-node-port'), addressing: { mode: 'Node' } });
    },
    condition: ready('False', 'NodePortMissing'),
    message:
      'Service shop/no-node-port is of type ClusterIP and has no NodePort for port 80: make it of type NodePort, or choose another addressing mode',
  },
  {
    symptom: 'With addressing mode Node the operator does not watch nodes',
    on: ['GatewayUpstream', 'shop/no-nodes'],
    async arrange({ shop }) {
      await shop.service('no-nodes', PORTS, { type: 'NodePort' });
      await shop.endpoints('no-nodes', ['10.0.0.1']);
      await upstream(shop, 'no-nodes', { ...to('no-nodes'), addressing: { mode: 'Node' } });
    },
    condition: ready('Unknown', 'SourceUnavailable'),
    message:
      "Addressing mode Node needs the nodes, which the operator does not watch: set watchNodes to true in its configuration (config.watchNodes in the chart's values), or choose another mode",
  },
  {
    symptom: 'With addressing mode LoadBalancer nobody gave the Service an address',
    on: ['GatewayUpstream', 'shop/no-balancer'],
    async arrange({ shop }) {
      await shop.service('no-balancer', PORTS, { type: 'LoadBalancer' });
      await shop.endpoints('no-balancer', ['10.0.0.1']);
      await upstream(shop, 'no-balancer', { ...to('no-balancer'), addressing: { mode: 'LoadBalancer' } });
    },
    condition: ready('False', 'NoLoadBalancerAddress'),
    message:
      'Service shop/no-balancer has no IPv4 address of a load balancer yet: look at its Events, or choose another addressing mode',
  },
  {
    symptom: 'With addressing mode ClusterIP the Service is headless',
    on: ['GatewayUpstream', 'shop/headless'],
    async arrange({ shop }) {
      await service(shop, 'headless');
      await upstream(shop, 'headless', { ...to('headless'), addressing: { mode: 'ClusterIP' } });
    },
    condition: ready('False', 'NoClusterIP'),
    message:
      'Service shop/headless is headless and has no address of its own: use addressing mode Pod or DNS',
  },
  {
    symptom: 'The Service is of type ExternalName, and places outside the cluster are not allowed',
    on: ['GatewayUpstream', 'shop/external'],
    async arrange({ shop }) {
      await shop.service('external', [], { type: 'ExternalName', externalName: 'db.example.com' });
      await upstream(shop, 'external', to('external', 3306));
    },
    condition: ready('False', 'StaticAddressesDenied'),
    message:
      'Service shop/external is of type ExternalName, and GatewayConnection main does not allow places outside the cluster: its owner can set spec.tenantPolicy.staticAddresses to Allow',
  },
  {
    symptom: 'A dnsSuffix of its own is not allowed by the connection',
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
      'GatewayConnection main does not allow dnsSuffix "example.com": leave it out, or its owner sets it in spec.addressing of the connection, or spec.tenantPolicy.staticAddresses to Allow',
  },
  {
    symptom: 'Addresses are not allowed by the connection',
    on: ['GatewayUpstream', 'shop/addresses'],
    arrange: ({ shop }) => upstream(shop, 'addresses', { addresses: [{ host: '192.0.2.1', port: 80 }] }),
    condition: ready('False', 'StaticAddressesDenied'),
    message:
      'GatewayConnection main does not allow backends with addresses: use serviceRef, or its owner sets spec.tenantPolicy.staticAddresses to Allow',
  },
  {
    symptom: 'An address is a name inside the cluster, where addresses are allowed',
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
    message: 'private.forbidden is a name inside the cluster: use serviceRef, which follows the Service',
  },
  {
    symptom: 'An address leads to the gateway itself, where addresses are allowed',
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
      '127.0.0.1 leads to a loopback address: use another address, or the owner of the GatewayConnection adds it to spec.addresses.allow',
  },
  {
    symptom: 'The Secret with the client certificate does not exist',
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
      'Secret shop/client of type kubernetes.io/tls does not exist: put a certificate into tls.crt and its key into tls.key, or correct spec.tls.clientCertificateSecretRef; until then the gateway keeps what it has, nodes included',
  },
  {
    symptom: 'The version of the gateway does not heed a field',
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
      'spec.tls.verify cannot be used, since APISIX 3.13.0 ignores this field and does not verify the certificates of nodes (changed in 3.19.0): change the spec, or upgrade the gateway; until then the gateway keeps what it has, nodes included',
  },
  {
    symptom: 'The gateway refuses the upstream',
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
    symptom: 'The object is deleted, and a route still refers to its upstream',
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
      'Waiting to be deleted (can not delete this upstream, route [shop] is still using it now): remove that reference, or set spec.deletionPolicy to Orphan or Force',
  },
  {
    symptom: 'syncPolicy is Observe, and the gateway differs',
    on: ['GatewayUpstream', 'shop/observed'],
    async arrange({ shop }) {
      await service(shop, 'observed');
      await upstream(shop, 'observed', to('observed'), { syncPolicy: 'Observe' });
    },
    condition: ready('False', 'Observed'),
    message:
      'Nothing is written, since spec.syncPolicy is Observe, and the gateway has no such upstream: status.plan says what Sync would write',
  },
];
