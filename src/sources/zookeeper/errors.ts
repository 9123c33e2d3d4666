import { describeFailure, type FailureWording, failureOfCode } from '../../runtime/http/failures.ts';
import { RegistryError } from '../registry-source/protocol.ts';

const CHECK_SERVERS = 'correct zookeeper.servers';
const WORDING: FailureWording = {
  remedies: {
    NameUnknown: CHECK_SERVERS,
    ConnectionClosed:
      'check that the server is a member of an ensemble with a quorum, and its maxClientCnxns',
    ResponseTruncated: 'check the server',
    TlsRefused: CHECK_SERVERS,
    CertificateExpired: CHECK_SERVERS,
    CertificateUntrusted: CHECK_SERVERS,
    TlsFailed: CHECK_SERVERS,
    NotHttp: CHECK_SERVERS,
    Unusable: CHECK_SERVERS,
    ResponseTimeout: 'check the server, or raise requestTimeout',
    ResponseTooLarge: 'register fewer instances under this service',
    ListTooLarge: 'register fewer instances under this service',
    NotJson: CHECK_SERVERS,
    NotObjects: CHECK_SERVERS,
  },
};

type Failure = Parameters<typeof describeFailure>[0];

function unreachable(server: URL, failure: Failure): RegistryError {
  const { problem, remedy } = describeFailure(failure, WORDING);
  return new RegistryError('Unreachable', 'server', { problem: `${server.host} ${problem}`, remedy });
}

/** `error`: of a socket. */
export function connectionFailed(server: URL, error: NodeJS.ErrnoException): RegistryError {
  return unreachable(server, failureOfCode(error.code ?? 'unknown'));
}

/** `isMidway`: in the middle of a message. */
export function connectionClosed(server: URL, isMidway: boolean): RegistryError {
  return unreachable(server, {
    kind: isMidway ? 'ResponseTruncated' : 'ConnectionClosed',
    code: 'closed',
  });
}

export function noAnswer(server: URL, ms: number): RegistryError {
  return unreachable(server, { kind: 'ResponseTimeout', ms });
}

export function noConnection(server: URL, ms: number): RegistryError {
  return unreachable(server, { kind: 'ConnectTimeout', ms, phase: 'connect' });
}

export function notZooKeeper(server: URL): RegistryError {
  return new RegistryError('InvalidAnswer', 'server', {
    problem: `${server.host} sent an answer that is not valid for ZooKeeper`,
    remedy:
      'check that zookeeper.servers has the ports for clients of ZooKeeper without TLS, usually 2181, and no proxy in front of them changes data',
  });
}

export function readOnly(server: URL): RegistryError {
  return new RegistryError('ServerError', 'server', {
    problem: `${server.host} is read-only, because it has lost the majority of its ensemble`,
    remedy: 'restore the ensemble',
  });
}

export function unauthorized(server: URL, hasUser: boolean): RegistryError {
  return new RegistryError('Unauthorized', 'registry', {
    problem: hasUser
      ? `ZooKeeper at ${server.host} rejected a read: the user has no permission, or its name or password is wrong (NOAUTH)`
      : `ZooKeeper at ${server.host} rejected a read without credentials (NOAUTH)`,
    remedy: hasUser
      ? 'correct the Secrets of zookeeper.usernameSecretRef and zookeeper.passwordSecretRef, or grant the user READ on zookeeper.path and all nodes below'
      : 'set zookeeper.usernameSecretRef and zookeeper.passwordSecretRef',
  });
}

/** `code`: of a reply. */
export function serverFailed(server: URL, code: number): RegistryError {
  return new RegistryError('ServerError', 'server', {
    problem: `${server.host} answered with error ${code} of ZooKeeper`,
    remedy: 'check the log of the ZooKeeper server',
  });
}

/** `what`: `the service has more than 20,000 entries`. */
export function tooLarge(what: string): RegistryError {
  return new RegistryError('InvalidAnswer', 'service', {
    problem: what,
    remedy: 'register fewer instances under this service, or less data',
  });
}
