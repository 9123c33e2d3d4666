import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EurekaProtocol } from '../../../../src/sources/eureka/protocol.ts';
import { type EurekaBackend, eurekaBackend, eurekaRegistry } from '../../../../src/sources/eureka/schema.ts';
import { PROBE_SERVICE } from '../../../../src/sources/registry-source/protocol.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { EurekaStandIn } from '../../../support/registries/eureka-stand-in.ts';

const PROOF = `/vips/${PROBE_SERVICE}`;
const NOTHING = { applications: { versions__delta: '-1', apps__hashcode: '', application: [] } };
const USER = {
  usernameSecretRef: { name: 'eureka', key: 'username' },
  passwordSecretRef: { name: 'eureka', key: 'password' },
};

let standIn: EurekaStandIn;
let protocol: EurekaProtocol;

function create(section: object = {}): EurekaProtocol {
  return new EurekaProtocol({
    section: eurekaRegistry.parse({ servers: [standIn.url.href], ...section }),
    secret: ({ key }) => ({ ok: true, value: key === 'username' ? 'reader' : 'pass: word ü' }),
    limits: {
      concurrentQueries: 10,
      requestsPerSecond: undefined,
      requestTimeoutMs: 5000,
      pollIntervalMs: 1000,
    },
    clock: createFakeClock(),
  });
}

beforeEach(async () => {
  standIn = await EurekaStandIn.start();
  protocol = create();
});

afterEach(async () => {
  protocol.close();
  await standIn[Symbol.asyncDispose]();
});

type Cursor = Awaited<ReturnType<EurekaProtocol['ask']>>['cursor'];

function ask(service = 'web', cursor?: Cursor) {
  const query = { service, options: undefined };
  const request = { query, server: standIn.url, cursor, waitMs: 0, timeoutMs: 5000 };
  return protocol.ask(request, new AbortController().signal);
}

function instance(fields: object = {}): object {
  return {
    instanceId: 'web-1',
    hostName: 'vm-1.example.com',
    app: 'WEB',
    ipAddr: '10.0.0.1',
    status: 'UP',
    overriddenStatus: 'UNKNOWN',
    port: { $: 8080, '@enabled': 'true' },
    securePort: { $: 8443, '@enabled': 'false' },
    metadata: { '@class': 'java.util.Collections$EmptyMap' },
    ...fields,
  };
}

function list(name: string, ...instances: readonly object[]): void {
  standIn.answers.set(`/apps/${name}`, { application: { name, instance: instances } });
}

async function endpointOf(fields: object, options: EurekaBackend = {}) {
  list('WEB', instance(fields));
  const { cursor } = await ask();
  return protocol.endpoints(cursor, eurekaBackend.parse(options))[0];
}

describe('the application of a service', () => {
  it('is read in upper case, whatever the case of the service', async () => {
    list('WEB', instance());
    expect((await ask('Web')).instances).toHaveLength(1);
    expect(protocol.key({ service: 'Web', options: undefined })).toBe('WEB');
  });

  it('is unchanged if only the order of its instances is another one', async () => {
    list('WEB', instance(), instance({ instanceId: 'web-2' }));
    const { cursor } = await ask();
    list('WEB', instance({ instanceId: 'web-2' }), instance());
    expect((await ask('web', cursor)).instances).toBeUndefined();
  });

  it('is changed if an instance is replaced by another one with the same status', async () => {
    list('WEB', instance());
    const { cursor } = await ask();
    list('WEB', instance({ ipAddr: '10.0.0.2' }));
    expect((await ask('web', cursor)).instances).toHaveLength(1);
  });

  it('has no instances if Eureka does not know it', async () => {
    standIn.answers.set(PROOF, NOTHING);
    expect((await ask()).instances).toEqual([]);
  });

  it.each<[string, () => void, object]>([
    ['another server has no such path', () => undefined, { reason: 'InvalidAnswer', scope: 'server' }],
    [
      'a proxy answers each request with 200',
      () => standIn.answers.set(PROOF, {}),
      { reason: 'InvalidAnswer', scope: 'server' },
    ],
    [
      'the answer is for another application',
      () => standIn.answers.set('/apps/WEB', { application: { name: 'OTHER', instance: [] } }),
      { reason: 'InvalidAnswer', scope: 'server' },
    ],
    [
      'an instance has another form',
      () => list('WEB', { hostName: 7 }),
      { reason: 'InvalidAnswer', scope: 'server' },
    ],
    [
      'the server warms up',
      () => standIn.answers.set('/apps/WEB', 403),
      {
        reason: 'ServerError',
        scope: 'server',
        message: expect.stringContaining('5 minutes after its start'),
      },
    ],
    [
      'the server rejects the request',
      () => standIn.answers.set('/apps/WEB', 400),
      { reason: 'ServerError', scope: 'service' },
    ],
    [
      'the user is rejected',
      () => standIn.answers.set('/apps/WEB', 401),
      { reason: 'Unauthorized', scope: 'registry' },
    ],
  ])('is unknown if %s', async (_, prepare, error) => {
    prepare();
    await expect(ask()).rejects.toMatchObject(error);
  });
});

describe('a user', () => {
  it('is sent with each request, also with characters outside ASCII', async () => {
    protocol.close();
    protocol = create(USER);
    standIn.answers.set(PROOF, NOTHING);
    await ask();
    const expected = `Basic ${Buffer.from('reader:pass: word ü').toString('base64')}`;
    expect(standIn.requests.map(({ authorization }) => authorization)).toEqual([expected, expected]);
  });

  it('is not named in the error when it is rejected', async () => {
    protocol.close();
    protocol = create(USER);
    standIn.answers.set('/apps/WEB', 401);
    await expect(ask()).rejects.toMatchObject({ message: expect.not.stringMatching(/reader|pass: word/) });
  });
});

describe('an instance', () => {
  it.each([
    ['UP', { ready: true, terminating: false }],
    ['DOWN', { ready: false, terminating: false }],
    ['STARTING', { ready: false, terminating: false }],
    ['UNKNOWN', { ready: false, terminating: false }],
    ['OUT_OF_SERVICE', { ready: false, terminating: true }],
  ])('with status %s is %o, whatever its overriddenStatus', async (status, expected) => {
    expect(await endpointOf({ status, overriddenStatus: 'UP' })).toMatchObject(expected);
  });

  it.each<[string, object, EurekaBackend, number | undefined]>([
    ['its plain port', {}, {}, 8080],
    ['its plain port, if both are enabled', { securePort: { $: 8443, '@enabled': 'true' } }, {}, 8080],
    [
      'its secure port, if the backend asks for it',
      { securePort: { $: 8443, '@enabled': true } },
      { port: 'Secure' },
      8443,
    ],
    ['no port, if the secure one is not enabled', {}, { port: 'Secure' }, undefined],
    ['no port that is too large', { port: { $: 70_000, '@enabled': 'true' } }, {}, undefined],
    ['no port that is not a number', { port: { $: 'x', '@enabled': 'true' } }, {}, undefined],
    ['no port that is true', { port: { $: true, '@enabled': 'true' } }, {}, undefined],
    ['a port that is text', { port: { $: '8081', '@enabled': 'true' } }, {}, 8081],
    ['no port, if it names none', { port: undefined, securePort: undefined }, {}, undefined],
  ])('has %s', async (_, fields, options, port) => {
    expect((await endpointOf(fields, options))?.port).toBe(port);
  });

  it('has its host name if it has no IP address', async () => {
    expect((await endpointOf({ ipAddr: null }))?.address).toBe('vm-1.example.com');
  });

  it.each([
    ['3', 3],
    ['0', 0],
    ['0.5', 0.5],
    ['-1', 1],
    ['many', 1],
    ['1e9', 1],
    [undefined, 1],
  ])('with the metadata weight %s has weight %s', async (weight, expected) => {
    expect((await endpointOf({ metadata: { weight } }))?.weight).toBe(expected);
  });
});
