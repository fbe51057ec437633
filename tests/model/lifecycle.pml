/* The lifecycle protocol of docs/lifecycle.md, for `spin`. One instance, its record, its workers, its exchange.
 *
 * Every atomic step is one Lua script of state/lua/, one request at the exchange, or one tick of the clock. Workers may
 * stop between any two steps for any time (a pause) or for ever (a kill); messages may come late, doubled or never.
 * Nothing is counted up: times are what is left of them (`lease` > 0 is a live lease, `fence` > 0 a fence ahead), a run is
 * current, asked to stop or told clean, a message current or stale. So the number of runs, iterations, kills, stops and
 * ticks has no bound, and yet there are only finitely many states.
 *
 * Configurations (cpp): CLOSE  a cleanup may send orders of its own, which never rest (closing, unwinding)
 *                       LAG    the open-orders list lags longer than the fence's margin; ids are known (order_ids, intents)
 *                       FLAKY  the list may leave out what rests, but not twice in a row
 *                       CRASH  the state server crashes, is another process then, and has lost up to a tick
 *                       RARE   with LIVE: the next scheduled iteration is too far away to matter
 *                       LIVE   due times, the sweep, wake-ups, and a moment after which nothing fails any more
 * BROKEN is the rule that is left out, ONLY the one invariant that is checked (0: all of them). See check.py.
 */
#define STOPPED  0
#define RUNNING  1
#define STOPPING 2
#define FAILED   3

#define NOBODY 0
#define DEAD   3  /* its token is in the record, its process is gone */

#ifndef LEASE
#define LEASE  2  /* an iteration's lease */
#endif
#define CLEASE 2  /* a cleanup's lease */
#ifndef FENCE
#define FENCE  2  /* window + margin; the exchange accepts until just before it */
#endif
#define NO_BASE 3
#define UNSEEN 3  /* LAG: how long after its acceptance the list does not show an order */

/* How many may be at work at once, zombies counted; how many requests may be on their way. */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef CLEANERS
#define CLEANERS 2
#endif
#ifndef REQUESTS
#define REQUESTS 2
#endif

#define GRACE    1
#define INTERVAL 1
#define RESEND   1
#define NEVER    7

/* What a worker is at. */
#define IDLE   0
#define RUN    1  /* between two requests */
#define UNSENT 2  /* authorised, about to send */
#define AWAIT  3  /* sent, no answer yet */

/* What a cleanup is at, beyond IDLE. */
#define C_LEASE  4  /* waits for the iteration in flight */
#define C_FENCE  5  /* waits for the fence */
#define C_ASK    6  /* asks by client order id */
#define C_LIST   7
#define C_CLOSE  1  /* between two orders of its own */
#define C_FINISH 8
/* UNSENT and AWAIT as for a worker */

/* Whose run it is, by what has been said about it. */
#define CURRENT   0
#define ASKED     1  /* its stop was requested */
#define TOLD      2  /* it was reported stopped, clean */

/* Which rule is left out; what each of them means is said in variants.py. */
mtype = { none,
  nofence, nophase, notoken, noexpiry, latesign,
  resetfence, unresolved, anycommit, latecommit, nodrain, lateboth,
  nolease, notick, noepoch,
  nogate, nowait, skipfence, listfails, onelist, noask, noids,
  anyfinish, finishearly, startfence, forgetintents,
  norestore, nodisk, startnodisk, samegate,
  forgetstops, forgetruns, forgetwakes, nosweepclaim, noretry
};

#ifndef BROKEN
#define BROKEN none
#endif
#ifndef ONLY
#define ONLY 0
#endif

#define REQUIRE(number, condition) assert((condition) || (ONLY != 0 && ONLY != number))

typedef Worker {
  unsigned at : 2;
  unsigned left : 2;    /* UNSENT: how long the signature is good */
  unsigned of_run : 2;
  unsigned unsure : 1;  /* a request of this iteration has no answer */
#ifdef LIVE
  unsigned wake : 1;    /* runs for a wake-up, beside the schedule */
#endif
};

typedef Cleaner {
  unsigned at : 4;
  unsigned empties : 2;   /* empty lists in a row */
#ifdef CLOSE
  unsigned left : 2;
  unsigned told : 1;
  unsigned second : 1;  /* behind the position policy */
  unsigned unsure : 1;
#endif
#ifdef FLAKY
  unsigned hid : 1;     /* its last list left something out */
#endif
#ifdef LIVE
  unsigned polled : 1;
#endif
};

typedef Request {
  unsigned left : 2;    /* how long the exchange accepts it; 0: there is none */
  unsigned told : 1;
  unsigned waiter : 3;  /* worker 1 or 2, cleaner 3 or 4, nobody 0 */
#ifdef CLOSE
  unsigned ioc : 1;
#endif
};

/* The record in Redis. */
unsigned phase : 2;
unsigned holder : 2;
unsigned lease : 2;
unsigned fence : 2;
unsigned fence_base : 2;
unsigned cleanup_holder : 2;
unsigned cleanup_lease : 2;
#ifdef CLOSE
unsigned cleanup_fence_base : 2 = NO_BASE;
#endif
#ifdef LIVE
unsigned due : 1;
unsigned look_at : 3 = NEVER;
unsigned woken : 1;
unsigned again : 1;
/* Messages under way, once nothing is lost any more; before that any message may come at any time. */
unsigned m_iterate : 1;
unsigned m_wake : 1;
unsigned m_cleanup : 1;
unsigned calm : 1;
#endif

#ifdef CRASH
unsigned other : 1;         /* another process of the server wrote the record */
unsigned unsaved : 1;       /* what opened or closed the gate is not known to be on disk */
/* What is on disk. */
typedef Disk {
  unsigned phase : 2; unsigned holder : 2; unsigned lease : 2; unsigned fence : 2; unsigned fence_base : 2;
  unsigned cleanup_holder : 2; unsigned cleanup_lease : 2; unsigned unsaved : 1;
  unsigned told : 1         /* since then its run was reported clean */
};
Disk disk;
#define SAME_SERVER (!other)
#define SAVED (!unsaved)
#else
#define SAME_SERVER true
#define SAVED true
#endif

/* The exchange. */
Request flying[2];
#ifdef LAG
/* Own orders that rest, by who knows of them, and how long the list does not show them. */
typedef Orders { unsigned rest : 1; unsigned unseen : 2 };
Orders fresh[3];            /* placed by an iteration that has not committed yet; intents too */
Orders intent;              /* authorised and never told of */
Orders known;               /* the record holds their ids */
Orders stray;               /* only a list can show them */
#define RESTING (fresh[1].rest || fresh[2].rest || intent.rest || known.rest || stray.rest)
#define SHOWN(orders) (orders.rest && orders.unseen == 0)
#define LISTED (SHOWN(fresh[1]) || SHOWN(fresh[2]) || SHOWN(intent) || SHOWN(known) || SHOWN(stray))
#else
unsigned book : 1;          /* an own order rests */
#define RESTING (book)
#define LISTED (book)
#endif

Worker worker[3];
Cleaner cleaner[3];
unsigned newest : 2;        /* who claimed last */

#define LIVE_LEASE    (lease > 0)
#define CLEANUP_MINE  (cleanup_holder == me && cleanup_lease > 0 && SAME_SERVER)

#ifdef LIVE
#define FAULTS (!calm)
#else
#define FAULTS true
#endif

inline not_saved() {
#ifdef CRASH
  unsaved = 1
#else
  skip
#endif
}

/* parts/restart.lua: what was permitted in the lost second can arrive until now + window + margin. */
inline restore() {
#ifdef CRASH
  if
  :: other -> fence = (BROKEN == norestore -> fence : FENCE); other = 0
  :: else
  fi
#else
  skip
#endif
}

inline write_to_disk() {
#ifdef CRASH
  disk.phase = phase; disk.holder = holder; disk.lease = lease; disk.fence = fence; disk.fence_base = fence_base;
  disk.cleanup_holder = cleanup_holder; disk.cleanup_lease = cleanup_lease; disk.unsaved = unsaved; disk.told = 0
#else
  skip
#endif
}

inline down(timer) { timer = (timer > 0 -> timer - 1 : 0) }

inline drop_lease() { holder = NOBODY; lease = 0; fence_base = 0 }

inline drop_cleanup_lease() { cleanup_holder = NOBODY; cleanup_lease = 0 }

inline forget_request(i) {
  flying[i].left = 0; flying[i].told = 0; flying[i].waiter = 0;
#ifdef CLOSE
  flying[i].ioc = 0;
#endif
}

/* Called where the gate of the current run closes. */
inline gate_closes() {
  if :: worker[1].at != IDLE && worker[1].of_run == CURRENT -> worker[1].of_run = ASKED :: else fi;
  if :: worker[2].at != IDLE && worker[2].of_run == CURRENT -> worker[2].of_run = ASKED :: else fi;
  phase = STOPPING; not_saved();
#ifdef LIVE
  look_at = 0; woken = 0; again = 0; m_iterate = 0; m_wake = 0;
#endif
}

#ifdef LAG
inline add_orders(to, from) {
  if
  :: from.rest -> to.rest = 1; to.unseen = (from.unseen > to.unseen -> from.unseen : to.unseen); from.rest = 0; from.unseen = 0
  :: else
  fi
}

inline cancel_orders(which) { which.rest = 0; which.unseen = 0 }

inline cancel_shown(which) { if :: SHOWN(which) -> which.rest = 0 :: else fi }
#endif

inline worker_idle() {
#ifdef LAG
  add_orders(intent, fresh[me]);
#endif
  worker[me].at = IDLE; worker[me].left = 0; worker[me].of_run = CURRENT; worker[me].unsure = 0;
#ifdef LIVE
  worker[me].wake = 0;
#endif
#ifdef CRASH
  if :: disk.holder == me -> disk.holder = DEAD :: else fi;
#endif
  if :: newest == me -> newest = NOBODY :: else fi
}

inline cleaner_idle() {
  cleaner[me].at = IDLE; cleaner[me].empties = 0;
#ifdef CRASH
  if :: disk.cleanup_holder == me -> disk.cleanup_holder = DEAD :: else fi;
#endif
#ifdef CLOSE
  cleaner[me].left = 0; cleaner[me].told = 0; cleaner[me].second = 0; cleaner[me].unsure = 0;
#endif
#ifdef FLAKY
  cleaner[me].hid = 0;
#endif
#ifdef LIVE
  cleaner[me].polled = 0;
#endif
}

inline forget_waiter(who) {
  if :: flying[0].waiter == who -> flying[0].waiter = 0 :: else fi;
  if :: flying[1].waiter == who -> flying[1].waiter = 0 :: else fi
}

#define HAS_FLYING(who) (flying[0].waiter == who || flying[1].waiter == who)
#if REQUESTS == 0
#define FREE_SLOT false
#elif REQUESTS == 1
#define FREE_SLOT (flying[0].left == 0)
#else
#define FREE_SLOT (flying[0].left == 0 || flying[1].left == 0)
#endif

inline send(good_for, was_told, who, is_ioc) {
  if
  :: flying[0].left == 0 -> slot = 0
  :: else -> slot = 1
  fi;
  flying[slot].left = good_for; flying[slot].told = was_told; flying[slot].waiter = who;
#ifdef CLOSE
  flying[slot].ioc = is_ioc;
#endif
  slot = 0
}

#include "iteration.pml"
#include "cleanup.pml"
#include "surroundings.pml"
