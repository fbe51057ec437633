/* The exchange, the clock, the user, the sweep, the state server, and what must hold. Part of lifecycle.pml. */

inline accepts(i) {
  REQUIRE(1, !flying[i].told);
  REQUIRE(1, phase != STOPPED);
#ifdef CLOSE
  if :: !flying[i].ioc -> book = 1 :: else fi
#else
#ifdef LAG
  if
  :: flying[i].waiter != NOBODY -> fresh[flying[i].waiter].rest = 1; fresh[flying[i].waiter].unseen = UNSEEN
  :: else -> intent.rest = 1; intent.unseen = UNSEEN
  fi
#else
  book = 1
#endif
#endif
}

active proctype Exchange() {
  do
  :: d_step { flying[0].left > 0 -> printf("exchange|accepts the order\n"); accepts(0); forget_request(0) }
  :: d_step { flying[1].left > 0 -> printf("exchange|accepts the order\n"); accepts(1); forget_request(1) }
  :: d_step { flying[0].left > 0 -> printf("exchange|refuses the order\n"); forget_request(0) }
  :: d_step { flying[1].left > 0 -> printf("exchange|refuses the order\n"); forget_request(1) }
  od
}

#ifdef LIVE
#define NOTHING_TO_DO (worker[1].at == IDLE && worker[2].at == IDLE && \
  (cleaner[1].at == IDLE || cleaner[1].polled) && (cleaner[2].at == IDLE || cleaner[2].polled) && \
  !m_cleanup && !m_wake && !(m_iterate && due == 0) && look_at != 0)
#define MAY_TICK (FAULTS || NOTHING_TO_DO)
#else
#define MAY_TICK true
#endif

inline time_of_request(i) {
  if
  :: flying[i].left > 1 -> flying[i].left = flying[i].left - 1
  :: flying[i].left == 1 -> forget_request(i)
  :: else
  fi
}

active proctype Clock() {
  do
  :: d_step { MAY_TICK ->
       printf("clock|tick\n");
       down(lease); down(fence); down(fence_base); down(cleanup_lease);
       if :: lease == 0 && holder == DEAD -> drop_lease() :: else fi;
       if :: cleanup_lease == 0 && cleanup_holder == DEAD -> drop_cleanup_lease() :: else fi;
       down(worker[1].left); down(worker[2].left);
       time_of_request(0); time_of_request(1);
       write_to_disk();
#ifdef CLOSE
       down(cleaner[1].left); down(cleaner[2].left);
       if :: cleanup_fence_base != NO_BASE -> down(cleanup_fence_base) :: else fi;
#endif
#ifdef LAG
       down(fresh[1].unseen); down(fresh[2].unseen); down(intent.unseen); down(known.unseen); down(stray.unseen);
#endif
#ifdef LIVE
#ifndef RARE
       down(due);
#endif
       if :: look_at != NEVER -> down(look_at) :: else fi;
       cleaner[1].polled = 0; cleaner[2].polled = 0;
#endif
     }
  od
}

active proctype User() {
  do
  /* start.lua */
  :: d_step { phase == STOPPED || (phase == FAILED && cleanup_lease == 0 && FAULTS) ->
       if
       :: phase == FAILED -> printf("user|starts a new run by force\n")
       :: else -> printf("user|starts a run\n")
       fi;
#ifdef LAG
       if
       :: BROKEN == forgetintents -> add_orders(stray, intent)
       :: else
       fi;
#endif
       if
       :: phase == FAILED -> restore()
       :: else
#ifdef CRASH
          ; other = 0
#endif
       fi;
       phase = RUNNING; drop_lease(); drop_cleanup_lease(); not_saved();
       if :: BROKEN == startfence -> fence = 0 :: else fi;
#ifdef LIVE
       due = 0; look_at = 0; woken = 0; again = 0
#endif
     }
  /* request_stop.lua */
  :: d_step { phase == RUNNING -> printf("user|asks for a stop\n"); gate_closes() }
  :: d_step { (phase == STOPPING || phase == FAILED) && cleanup_holder != NOBODY && FAULTS ->
       printf("user|asks the stop for more: the cleanup under way loses its lease\n");
       drop_cleanup_lease(); not_saved();
#ifdef LIVE
       look_at = 0
#endif
     }
  od
}

#ifdef CRASH
active proctype Server() {
  do
  :: d_step { unsaved -> printf("server|has the gate's change on disk\n"); write_to_disk(); unsaved = 0 }
  :: d_step { !unsaved -> printf("server|writes to disk\n"); write_to_disk() }
  :: d_step { true -> printf("server|crashes, and is back with what was on disk\n");
       REQUIRE(1, !(disk.told && disk.phase == RUNNING));
       phase = disk.phase; holder = disk.holder; lease = disk.lease; fence = disk.fence; fence_base = disk.fence_base;
       cleanup_holder = disk.cleanup_holder; cleanup_lease = disk.cleanup_lease; unsaved = disk.unsaved; other = 1;
       newest = (holder == DEAD -> NOBODY : holder);
       REQUIRE(1, !(phase == STOPPED && RESTING));
       /* Whoever asked for a stop follows it, and asks again. */
       if :: phase == RUNNING && worker[1].of_run == ASKED -> worker[1].of_run = CURRENT :: else fi;
       if :: phase == RUNNING && worker[2].of_run == ASKED -> worker[2].of_run = CURRENT :: else fi }
  od
}
#endif

#ifdef LIVE
active proctype Sweep() {
  do
  /* sweep.lua */
  :: d_step { look_at == 0 ->
       if
       :: phase == RUNNING && BROKEN != forgetruns ->
          if
          :: LIVE_LEASE -> look_at = lease + GRACE
          :: !LIVE_LEASE && due > 0 && (woken || again) && BROKEN != forgetwakes ->
             printf("sweep|publishes the wake-up\n"); m_wake = calm; look_at = RESEND
          :: !LIVE_LEASE && due > 0 && !((woken || again) && BROKEN != forgetwakes) -> look_at = due + GRACE
          :: else -> printf("sweep|publishes the overdue iteration\n"); m_iterate = calm; look_at = RESEND
          fi
       :: (phase == STOPPING || phase == FAILED) && BROKEN != forgetstops ->
          if
          :: cleanup_lease > 0 -> look_at = cleanup_lease + GRACE
          :: else -> printf("sweep|publishes the cleanup\n"); m_cleanup = calm; look_at = RESEND
          fi
       :: else -> look_at = NEVER
       fi }
  od
}

active proctype Feed() {
  do
  /* wake.lua */
  :: d_step { phase == RUNNING && FAULTS && !(LIVE_LEASE && again) && !(!LIVE_LEASE && woken) ->
       printf("feed|sees a fill and asks for an iteration\n");
       if
       :: LIVE_LEASE -> again = 1
       :: else -> woken = 1; look_at = 0
       fi }
  od
}

active proctype Faults() {
  d_step { calm = 1; printf("faults|end: nothing is lost, nobody dies, no step takes longer than a tick\n") }
}

#define ALIVE ((holder == 1 || holder == 2) && lease > 0)

ltl stop_ends { [] ((calm && (phase == STOPPING || phase == FAILED)) -> <> (phase == STOPPED)) }
ltl runs_again { [] ((calm && phase == RUNNING && !ALIVE) -> <> (ALIVE || phase != RUNNING)) }
ltl wake_answered { [] ((calm && phase == RUNNING && (woken || again)) -> <> (!(woken || again) || phase != RUNNING)) }
#endif

init {
  atomic {
    run Iterations(1); run Cleanups(1);
#if WORKERS == 2
    run Iterations(2);
#endif
#if CLEANERS == 2
    run Cleanups(2)
#endif
  }
}
