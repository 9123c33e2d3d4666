/** The users of services, by service. */
type Users<User> = Map<string, Set<User>>;

interface InNamespace<User> {
  readonly followed: Users<User>;
  /** For which there was no place. */
  readonly refused: Users<User>;
}

/** Which services of one registry are followed for which namespace: none uses up what all share. */
export class FollowedServices<User> {
  readonly #namespaces = new Map<string | undefined, InNamespace<User>>();
  /** By service: of how many namespaces it is followed. */
  readonly #followed = new Map<string, number>();
  /** Of one namespace. A smaller number ends no service that is followed already. */
  most: number;

  constructor(most: number) {
    this.most = most;
  }

  /** Takes a user of the service. Returns false if the namespace may follow no other service; then the user waits. */
  admit(namespace: string | undefined, service: string, user: User): boolean {
    const { followed, refused } = this.#namespace(namespace);
    const isFull = namespace !== undefined && followed.size >= this.most;
    const mayFollow = followed.has(service) || !isFull;
    const isFirst = add(mayFollow ? followed : refused, service, user);
    if (mayFollow) remove(refused, service, user);
    if (mayFollow && isFirst) this.#followed.set(service, (this.#followed.get(service) ?? 0) + 1);
    return mayFollow;
  }

  /** The user is gone. */
  release(namespace: string | undefined, service: string, user: User): void {
    const { followed, refused } = this.#namespace(namespace);
    remove(refused, service, user);
    if (remove(followed, service, user)) {
      const left = (this.#followed.get(service) ?? 0) - 1;
      if (left > 0) this.#followed.set(service, left);
      else this.#followed.delete(service);
    }
    if (followed.size + refused.size === 0) this.#namespaces.delete(namespace);
  }

  /** Users of one service that waits in the namespace, if there is a place for it now. */
  nextIn(namespace: string | undefined): readonly User[] {
    const known = this.#namespaces.get(namespace);
    if (known === undefined || known.followed.size >= this.most) return [];
    const [users] = known.refused.values();
    return [...(users ?? [])];
  }

  get namespacesThatWait(): readonly (string | undefined)[] {
    return [...this.#namespaces]
      .filter(([, { refused }]) => refused.size > 0)
      .map(([namespace]) => namespace);
  }

  /** Whether the service is followed for any namespace. */
  isFollowed(service: string): boolean {
    return this.#followed.has(service);
  }

  /** Whether the service is followed for no namespace, because there is no place in those that refer to it. */
  isRefused(service: string): boolean {
    return !this.isFollowed(service) && this.usersThatWait(service).length > 0;
  }

  /** The users of the service in namespaces that have no place for it. */
  usersThatWait(service: string): readonly User[] {
    return [...this.#namespaces.values()].flatMap(({ refused }) => [...(refused.get(service) ?? [])]);
  }

  #namespace(name: string | undefined): InNamespace<User> {
    const known = this.#namespaces.get(name);
    if (known !== undefined) return known;
    const created: InNamespace<User> = { followed: new Map(), refused: new Map() };
    this.#namespaces.set(name, created);
    return created;
  }
}

/** Returns whether it is the first user of the service. */
function add<User>(users: Users<User>, service: string, user: User): boolean {
  const known = users.get(service);
  if (known === undefined) users.set(service, new Set([user]));
  else known.add(user);
  return known === undefined;
}

/** Returns whether it was the last user of the service. */
function remove<User>(users: Users<User>, service: string, user: User): boolean {
  const known = users.get(service);
  if (known?.delete(user) !== true || known.size > 0) return false;
  users.delete(service);
  return true;
}
