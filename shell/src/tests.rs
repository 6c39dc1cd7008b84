//! Every command, the script mode and the interactive loop against a made-up machine.

use libd3os::service::console::InputEvent;
use libd3os::service::supervisor::{Exit, FaultKind, FaultReport};

use crate::command::COMMANDS;
use crate::editor::columns;
use crate::fake::{Fake, null_dereference};
use crate::interactive;
use crate::runner::{Outcome, run_line};
use crate::script;
use crate::session::{Mode, Session};

fn run_on(fake: &mut Fake, mode: Mode, line: &str) -> (String, Outcome) {
    let mut session = Session::new(fake, mode);
    let outcome = run_line(&mut session, line);
    (fake.text(), outcome)
}

/// The output of a line that must succeed, as a script's reader gets it.
fn output(line: &str) -> String {
    let (text, outcome) = run_on(&mut Fake::default(), Mode::Script, line);
    assert_eq!(outcome, Outcome::Success, "{text}");
    text
}

/// The output of a line that must fail.
fn complaint(line: &str) -> String {
    let (text, outcome) = run_on(&mut Fake::default(), Mode::Script, line);
    assert_eq!(outcome, Outcome::Failure, "{text}");
    text
}

/// The output of a line that runs a program that ends so.
fn ending_with(exit: Exit, line: &str) -> (String, Outcome) {
    run_on(&mut Fake { exit, ..Fake::default() }, Mode::Script, line)
}

#[test]
fn help_lists_every_command_and_explains_each() {
    let list = output("help");
    for command in COMMANDS {
        assert!(list.contains(&command.usage()) && list.contains(command.summary), "{list}");
        let explained = output(&format!("help {}", command.name));
        assert!(explained.starts_with(&format!("{}\n", command.usage())), "{explained}");
        assert_eq!(explained, output(&format!("{} --help", command.name)));
    }
    assert_eq!(
        output("help kill"),
        "\
kill [--after N] NAME
  ends a program

  --after N  how many more events of its trace come first
  NAME       a running program

  Takes everything from the program: its thread, its memory, its capabilities. Who waits for an
  answer from it is told that it was restarted. The image's manifest says whether it is started
  again; `ps` shows that.

  With `--after N` the program goes on until it has noted N more events in its trace (`trace
  NAME`), and ends in the middle of what it does at the last of them. The log says when that was.
"
    );
}

#[test]
fn ps() {
    assert_eq!(
        output("ps"),
        "\
PROGRAM  THREAD  CORE  PRIO  BUDGET/PERIOD  CPU TIME  STATE        RESTARTS
uart     main       0   200     5 ms/10 ms     1.2 s  running             0
console  main       0   150     5 ms/10 ms     1.2 s  backing off         2
shell    main       0   100     5 ms/10 ms     1.2 s  running             0
hello    main       0    50     5 ms/10 ms     1.2 s  stopped             0
"
    );
}

#[test]
fn mem_exact() {
    assert_eq!(
        output("mem exact"),
        " AMOUNT  OF WHAT\n1048576  bytes of untyped memory free\n      7  capability slots free\n"
    );
}

#[test]
fn mem() {
    assert_eq!(
        output("mem"),
        "\
CORE  MEMORY      TOTAL    USED     FREE  WHAT IT IS
   0  RAM       512 MiB                   in the machine
   0  kernel      2 MiB                   kept by the kernel
   0  untyped   510 MiB  12 MiB  498 MiB  handed out by the kernel
   0  programs    8 MiB                   untyped set aside for programs
   0  frames    2.1 MiB   2 MiB   68 KiB  523 of 540 pages in use
"
    );
}

#[test]
fn memory_of_several_cores_is_theirs_and_what_they_share() {
    let mut fake = Fake { pool_bytes: 256 << 20, ..Fake::default() };
    let (text, outcome) = run_on(&mut fake, Mode::Script, "mem; version");
    assert_eq!(outcome, Outcome::Success, "{text}");
    let wanted = [
        "   1  RAM       512 MiB                   the core's own\n",
        " all  pool      256 MiB                   RAM that the cores share\n",
        " all  RAM       1.2 GiB                   in the machine\n",
        ", 1.2 GiB of RAM\n",
    ];
    assert!(wanted.iter().all(|row| text.contains(row)), "{text}");
}

#[test]
fn caps() {
    assert_eq!(
        output("caps shell"),
        "\
SLOT  KIND      RIGHTS  WHICH
   -  thread            main
   1  endpoint  wp      calls console, badge 0x300
"
    );
}

#[test]
fn svc_lists_services() {
    let table = output("svc");
    let known = |name: &str| {
        let doc = libd3os::service::interface(name).unwrap().doc.replace('\n', " ");
        let (sentence, _) = doc.trim().split_once(". ").unwrap_or((doc.trim(), ""));
        sentence.trim_end_matches('.').replace("[`", "`").replace("`]", "`")
    };
    for (row, name) in table.lines().skip(1).zip(["log", "supervisor", "uart", "platform"]) {
        assert!(row.starts_with(name) && row.contains(&known(name)), "{row}");
    }
    let columns: Vec<_> =
        table.lines().map(|row| row.get(..50).unwrap_or(row).trim_end()).collect();
    assert_eq!(
        columns,
        [
            "SERVICE     PROGRAM   CORE  STATE     UP  RESTARTS",
            "log         init         0  running  3 s         1",
            "supervisor  init         0  running  3 s         1",
            "uart        uart         0  faulted              1",
            "platform    platform     0  running  3 s         1",
            "mystery     stranger     0  running  3 s         1",
        ]
    );
}

#[test]
fn svc_documents_one_service() {
    let text = output("svc log");
    assert!(text.starts_with("log, version 1\n  served by `init`, running for 3 s, 1 restart\n"));
    let doc = libd3os::service::interface("log").unwrap();
    for operation in doc.operations {
        assert!(text.contains(operation.name), "{text}");
        let first_word = operation.doc.split_whitespace().next().unwrap();
        assert!(text.contains(&format!("\n      {first_word} ")), "{text}");
    }
    assert!(
        text.contains("(Repeated by the client when the service was restarted during it.)"),
        "{text}"
    );
    assert!(text.contains("\nCOUNT  SINCE ITS START\n 1234  requests\n"), "{text}");
    assert!(!output("svc supervisor").contains("SINCE ITS START"), "the shell may not ask it");
    assert_eq!(
        complaint("svc urt"),
        "svc: there is no service `urt` in this image\n  did you mean `uart`? `svc` lists the services\n"
    );
}

#[test]
fn trace_shows_counters_and_the_last_events() {
    assert_eq!(
        output("trace -n 2 log"),
        "\
COUNT  SINCE ITS START
 1234  requests
    5  signals

EVENT       TIME  LATEST
   58  58.014500  sent 58 bytes
   59  59.014750  sent 59 bytes
"
    );
    assert_eq!(output("trace log").lines().count(), 3 + 1 + 1 + 16);
    assert_eq!(
        complaint("trace mystery"),
        "trace: the shell may not call `mystery`\n  \
         its manifest entry names the services under `calls`\n"
    );
    assert_eq!(
        complaint("trace uart"),
        "trace: `uart` does not run: it is faulted\n  \
         `run uart` starts it, `ps` shows how the programs are doing\n"
    );
    assert!(complaint("trace urt").contains("did you mean `uart`?"));
}

#[test]
fn date() {
    assert_eq!(output("date"), "2026-11-23 16:50:31 UTC\n");
}

#[test]
fn top_gives_a_script_one_frame() {
    let text = output("top");
    assert!(text.starts_with("D3OS 0.1.0, up "), "{text}");
    let wanted = ["CORE", "BUSY", "PROGRAM", "SERVICE", "MESSAGES/S", "INTERRUPTS/S", "shell"];
    assert!(wanted.iter().all(|word| text.contains(word)), "{text}");
    assert!(output("top -n 2").len() > text.len());
}

#[test]
fn plot_draws_a_graph_over_its_text_and_takes_it_away() {
    let mut fake = Fake::default();
    run_on(&mut fake, Mode::Interactive { width: 80, height: 24 }, "plot log -n 2");
    let graphs = fake.done.iter().filter(|done| done.starts_with("graph")).cloned();
    assert_eq!(graphs.collect::<Vec<_>>(), [0, 1, 2, 0].map(|n| format!("graph of {n} values")));
    let mut fake = Fake { no_screen: true, ..Fake::default() };
    run_on(&mut fake, Mode::Interactive { width: 80, height: 24 }, "plot log -n 1");
    assert!(fake.text().contains("log: requests in a second"), "{}", fake.text());
}

#[test]
fn plot_draws_a_counter() {
    let text = output("plot log");
    assert!(text.starts_with("log: requests in a second, 500 ms a column; now 0\n"), "{text}");
    assert_eq!(text.lines().count(), 11);
    assert!(output("plot log sig").starts_with("log: signals in a second"));
    assert_eq!(
        complaint("plot log x"),
        "plot: it counts nothing called `x`\n  it counts: requests, signals\n"
    );
}

#[test]
fn sleep_waits_from_now_on() {
    let mut fake = Fake::default();
    assert_eq!(run_on(&mut fake, Mode::Script, "sleep 250").1, Outcome::Success);
    assert_eq!(fake.done, ["wait until 200250000000"]);
}

#[test]
fn log_shows_the_last_records_of_a_level() {
    assert_eq!(
        output("log -n 2"),
        "    9.000000  info   uart uart::queue: record [2J 6\n   \
            10.500000  info   uart uart::queue: record [2J 7\n"
    );
    assert_eq!(
        output("log --level warn"),
        "    1.500000  warn   uart uart::queue: record [2J 1\n    \
             7.500000  warn   uart uart::queue: record [2J 5\n"
    );
    assert_eq!(output("log").lines().count(), 8);
}

#[test]
fn log_tells_what_it_no_longer_keeps() {
    let mut fake = Fake { log_start: 6, ..Fake::default() };
    let (text, _) = run_on(&mut fake, Mode::Script, "log");
    assert!(text.starts_with("(6 older records are no longer kept)\n"), "{text}");
    let mut fake = Fake { log_start: 6, ..Fake::default() };
    let (text, _) = run_on(&mut fake, Mode::Script, "log -n 1");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn run_waits_in_the_foreground_only() {
    let mut fake = Fake::default();
    let (text, outcome) = run_on(&mut fake, Mode::Script, "run hello 'a b' -x; run hello &");
    assert_eq!(outcome, Outcome::Success);
    assert_eq!(text, "`hello` runs in the background (run 7)\n");
    assert_eq!(
        fake.done,
        [r#"spawn hello ["a b", "-x"] Foreground"#, "wait 7", "spawn hello [] Background"]
    );
}

#[test]
fn run_says_how_the_program_ended() {
    let run = |exit| ending_with(exit, "run hello");
    assert_eq!(run(Exit::Code(0)), (String::new(), Outcome::Success));
    assert_eq!(run(Exit::Code(3)).0, "run: `hello` ended with exit code 3\n");
    assert_eq!(run(Exit::Killed).0, "run: `hello` was killed\n");
    let killed = run(Exit::KilledAt(7)).0;
    assert_eq!(killed, "run: `hello` was killed at event 7 of its trace\n");
    let hung = run(Exit::Unresponsive(1_500_000)).0;
    assert_eq!(hung, "run: `hello` was ended: it had not answered for 1.5 s\n");
    assert_eq!(run(Exit::Interrupted), ("run: `hello` was interrupted\n".into(), Outcome::Failure));
    let report = FaultReport {
        program: "hello".into(),
        kind: FaultKind::BadAddress,
        address: 0xdead_0000,
        ip: 0x40_0010,
        symbol: None,
        detail: "read".into(),
    };
    assert_eq!(
        run(Exit::Faulted(report)).0,
        "run: `hello` died of: access to unmapped memory, address 0xdead0000, \
         at instruction 0x400010: read\n  the system goes on; `log` has the details\n"
    );
}

#[test]
fn fault_succeeds_if_the_program_dies() {
    assert_eq!(
        ending_with(null_dereference(), "fault null && echo next"),
        (
            "`fault` died of: null dereference, address 0x0, in fault::null+0x4 \
         (instruction at 0x401234)\nnext\n"
                .into(),
            Outcome::Success
        )
    );
    assert_eq!(
        ending_with(Exit::Code(0), "fault null"),
        (
            "fault: `fault` survived what should have ended it (exit code 0)\n".into(),
            Outcome::Failure
        )
    );
    assert_eq!(ending_with(Exit::Killed, "fault stack").1, Outcome::Failure);
    assert_eq!(
        ending_with(Exit::Code(101), "fault panic"),
        ("`fault` ended with exit code 101\n".into(), Outcome::Success)
    );
}

#[test]
fn small_commands() {
    assert_eq!(output("kill uart"), "`uart` was ended\n");
    let later = output("kill uart --after 3");
    assert_eq!(later, "`uart` ends after 3 more events of its trace\n");
    assert_eq!(output("uptime"), "up 3 min 20 s, time stamp counter at 2400 MHz\n");
    assert_eq!(
        output("cores"),
        "\
CORE  STATE            UP     HEARD  PROGRAMS   MEMORY     FREE  RESTARTS
   0  running  3 min 20 s  0 µs ago         4  256 MiB  200 MiB         0
   1  silent   3 min 20 s   7 s ago         1  256 MiB  200 MiB         1
   2  parked                                0                           2
"
    );
    assert_eq!(output("cores stop 1"), "core 1 was stopped\n");
    assert_eq!(output("cores restart 1"), "core 1 was started anew\n");
    assert_eq!(output("echo a  'b  c' # d"), "a b  c\n");
    assert_eq!(output("echo"), "\n");
    assert_eq!(output("clear"), "");
    assert_eq!(
        output("version"),
        "D3OS 0.1.0, image `default`, 2 cores, 512 MiB of RAM\nkernel options: quiet\n"
    );
}

#[test]
fn the_end_of_the_machine_ends_the_line() {
    for (line, done) in [("poweroff; ps", "power off 0"), ("reboot; ps", "reboot")] {
        let mut fake = Fake::default();
        assert_eq!(run_on(&mut fake, Mode::Script, line), (String::new(), Outcome::Success));
        assert_eq!(fake.done, [done]);
    }
    let mut fake = Fake::default();
    run_on(&mut fake, Mode::Script, "nonsense; poweroff");
    assert_eq!(fake.done, ["power off 1"]);
}

#[test]
fn errors_say_what_to_do_next() {
    assert_eq!(
        complaint("hlep"),
        "there is no command `hlep`\n  did you mean `help`? `help` lists the commands\n"
    );
    assert_eq!(complaint("xyzzy"), "there is no command `xyzzy`\n  `help` lists the commands\n");
    assert_eq!(
        complaint("caps shel"),
        "caps: there is no program `shel` in this image\n  \
         did you mean `shell`? `ps` lists the programs\n"
    );
    assert_eq!(complaint("run uart"), "run: `uart` is running already\n  `kill uart` ends it\n");
    assert_eq!(complaint("kill hello"), "kill: `hello` is not running\n  `run hello` starts it\n");
    assert_eq!(
        complaint("cores stop 9"),
        "cores: no kernel runs on a core 9\n  `cores` lists the cores\n"
    );
    assert_eq!(
        complaint("cores stop"),
        "cores: CORE is missing (the core that it is about)\n  \
         usage: cores [ACTION] [CORE]; `help cores` tells more\n"
    );
    assert_eq!(
        complaint("fault nul"),
        "fault: `nul` is no KIND; it is one of null, divide, illegal, stack, readonly, badcap, panic, hang\n  \
         usage: fault [--core N] KIND; `help fault` tells more\n"
    );
    assert_eq!(
        complaint("ps &"),
        "ps: this command cannot run in the background\n  usage: ps; `help ps` tells more\n"
    );
    assert_eq!(
        complaint("help sp"),
        "help: there is no command `sp`\n  did you mean `ps`? `help` lists the commands\n"
    );
    assert_eq!(complaint("echo 'x"), "unterminated quote at column 6\n");
}

#[test]
fn conditions_decide_what_runs() {
    assert_eq!(output("echo a && echo b"), "a\nb\n");
    let failed = complaint("nonsense && echo a; echo b");
    assert!(failed.ends_with("\nb\n") && !failed.contains("a\nb"), "{failed}");
    assert!(complaint("nonsense && echo a && echo c; echo b").ends_with("commands\nb\n"));
}

#[test]
fn lost_output_is_a_failure() {
    let mut fake = Fake { deaf: true, ..Fake::default() };
    assert_eq!(run_on(&mut fake, Mode::Script, "ps").1, Outcome::Failure);
}

#[test]
fn interactive_tables_fit_and_have_colours() {
    for line in ["help", "ps", "mem", "caps shell", "svc", "svc log", "trace log", "help run"] {
        let mode = Mode::Interactive { width: 80, height: 24 };
        let (text, outcome) = run_on(&mut Fake::default(), mode, line);
        assert_eq!(outcome, Outcome::Success);
        assert!(text.contains("\x1b[1m"), "{text}");
        let plain = without_colours(&text);
        let signature = |row: &str| row.starts_with("  ") && row.contains(") ->");
        let too_wide = plain.lines().find(|row| columns(row) > 80 && !signature(row));
        assert_eq!(too_wide, None, "{line}");
    }
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |plain, part| plain + part.split_once('m').expect("a colour").1)
}

#[test]
fn help_is_not_cut_on_an_ordinary_terminal() {
    let mode = Mode::Interactive { width: 80, height: 24 };
    let (list, _) = run_on(&mut Fake::default(), mode, "help");
    for command in COMMANDS {
        assert!(list.contains(command.summary), "{}", command.name);
        let line = format!("help {}", command.name);
        let (explained, _) = run_on(&mut Fake::default(), mode, &line);
        assert!(explained.lines().skip(1).all(|row| !row.contains('…')), "{explained}");
    }
}

#[test]
fn no_command_writes_escapes_for_a_script() {
    for command in COMMANDS {
        let (text, _) =
            run_on(&mut Fake::default(), Mode::Script, &format!("{} uart", command.name));
        assert!(!text.contains('\x1b'), "{text}");
        let (text, _) = run_on(&mut Fake::default(), Mode::Script, command.name);
        assert!(!text.contains('\x1b'), "{text}");
    }
}

#[test]
fn a_script_runs_every_line_and_reports_the_worst() {
    let mut fake = Fake::default();
    script::run(&mut fake, "echo 1; echo 2\n\n# done\necho 3").unwrap();
    assert_eq!(
        (fake.text().as_str(), fake.done.as_slice()),
        ("1\n2\n3\n", &["ready".to_string(), "settle".into(), "power off 0".into()][..])
    );

    let mut fake = Fake::default();
    script::run(&mut fake, "echo 'open\nnonsense; echo on").unwrap();
    assert!(fake.text().starts_with("unterminated quote at column 6\n"));
    assert!(fake.text().ends_with("\non\n"));
    assert_eq!(fake.done, ["ready", "settle", "power off 1"]);

    let mut fake = Fake::default();
    script::run(&mut fake, "reboot\necho no").unwrap();
    assert_eq!(fake.done, ["ready", "settle", "reboot"]);
}

/// What the terminal got while these keys were typed.
fn conversation(keys: &str) -> (String, Fake) {
    let mut fake = Fake::typing(keys);
    let ended = interactive::run(&mut fake);
    assert_eq!(ended.is_ok(), keys.contains("poweroff\r"), "{ended:?}");
    (fake.text(), fake)
}

#[test]
fn a_person_works_and_leaves() {
    let (text, fake) = conversation("echo hi\rpoweroff\r");
    let dialogue = "D3OS 0.1.0. `help` lists the commands, `poweroff` leaves.\r\n\
                    d3os> echo hi\r\nhi\nd3os> poweroff\r\n";
    assert!(text.ends_with(dialogue), "{text:?}");
    assert_eq!(fake.done, ["ready", "power off 0"]);
}

#[test]
fn tab_asks_the_system() {
    let (text, _) = conversation("kill ua\t\rpow\t\rpoweroff\r");
    assert!(text.contains("`uart` was ended"), "{text:?}");
}

#[test]
fn the_shell_has_no_end_of_file() {
    let (text, _) = conversation("\x04poweroff\r");
    assert!(text.contains("`poweroff` switches the machine off\r\nd3os> p"), "{text:?}");
}

#[test]
fn the_line_is_shown_again_after_the_console_wrote_over_it() {
    let mut fake = Fake::typing("abc");
    fake.typed.push_back(InputEvent::Redraw);
    assert!(interactive::run(&mut fake).is_err());
    assert!(fake.text().ends_with("\r\x1b[Kd3os> abc"), "{:?}", fake.text());
}

#[test]
fn the_terminals_width_is_used() {
    let (text, _) = conversation("\x1b[24;40Rps\rpoweroff\r");
    assert!(text.contains("PROGRAM") && text.contains("RESTARTS"), "{text:?}");
    let (text, _) = conversation(&format!("\x1b[24;30R{}\x03poweroff\r", "x".repeat(40)));
    assert!(text.contains("\x1b[K"), "{text:?}");
    assert!(text.contains("<x"), "{text:?}");
}

#[test]
fn lspci_lists_functions_and_drivers() {
    assert_eq!(
        output("lspci"),
        "\
ADDRESS  DEVICE               ID         DRIVER  STATE
00:00.0  host bridge          8086:29c0
00:02.0  PCI bridge           1b36:000c
00:1f.2  SATA controller      8086:2922
01:00.0  Ethernet controller  8086:10d3  e1000e  ready
"
    );
    assert_eq!(
        output("lspci -v"),
        "\
00:00.0 host bridge: 8086:29c0
        Interrupt: none
00:02.0 PCI bridge: 1b36:000c
        Buses behind it: 01 to 01
        Capabilities: [54] PCI Express, [48] MSI
        Interrupt: MSI, 1 vectors
00:1f.2 SATA controller: 8086:2922 (rev 02)
        Subsystem: 1af4:1100
        Region 4: Ports at 0xc080 [size=32]
        Region 5: Memory at 0x0 (32-bit, non-prefetchable), not placed [size=4K]
        Interrupt: pin A, of which nobody says where it leads
01:00.0 Ethernet controller: 8086:10d3, driven by e1000e: ready
        Region 0: Memory at 0xfeb80000 (32-bit, non-prefetchable) [size=128K]
        Region 3: Memory at 0xfebd0000 (64-bit, prefetchable) [size=?]
        Capabilities: [a0] MSI-X, [e0] number 0x20
        Interrupt: MSI-X, 5 vectors, table in region 3 at 0x0
"
    );
}

#[test]
fn acpi_lists_tables_and_shows_one() {
    assert_eq!(
        output("acpi"),
        "\
TABLE     ADDRESS  BYTES  REV  MAKER          STATE
HPET   0x1ffe2000     20    1  BOCHS BXPC     sound
SRAT   0x1ffe3000    400    1  BOCHS  [2JXPC  its checksum is wrong

Problems
  the ACPI table SRAT at 0x1ffe3000: its checksum is wrong
"
    );
    assert_eq!(
        output("acpi hpet"),
        "\
HPET at 0x1ffe2000, 20 bytes
  registers at 0xfed00000
000000  48 50 45 54 00 01 02 03 04 05 06 07 08 09 0a 0b  HPET............
000010  0c 0d 0e 0f                                      ....
"
    );
    assert_eq!(output("acpi SRAT"), "SRAT at 0x1ffe3000, 400 bytes\n  its checksum is wrong\n");
    assert_eq!(
        complaint("acpi HPTE"),
        "acpi: there is no ACPI table `HPTE`\n  did you mean `HPET`? `acpi` lists the tables\n"
    );
}

#[test]
fn numa_shows_nodes_distances_and_persistent_memory() {
    assert_eq!(
        output("numa"),
        "\
NODE  PROCESSORS         FROM     SIZE  MEMORY
   0  0-1                 0x0  256 MiB  RAM
   1  2,4          0x10000000  256 MiB  RAM
                  0x100000000   64 MiB  persistent

DISTANCE     0     1
       0    10    21
       1    21    10

PERSISTENT         FROM    SIZE  NODE  STATE      SAFE WHEN POWER FAILS
         2  0x100000000  64 MiB     1  not armed  what has reached the memory controllers
"
    );
}

#[test]
fn nvdimm_shows_ranges_and_their_bytes() {
    assert_eq!(
        output("nvdimm"),
        "\
RANGE    SIZE  NODE  STATE      SAFE WHEN POWER FAILS
    0  64 MiB     1  armed      what is in the caches
    1  64 MiB     1  not armed  nothing: it is read only
"
    );
    assert_eq!(
        output("nvdimm read 0 0x1ffe"),
        "\
001ffe  70 65 72 73 69 73 74 65 6e 74 00 70 65 72 73 69  persistent.persi
00200e  73 74 65 6e                                      sten
"
    );
    let mut fake = Fake::default();
    run_on(&mut fake, Mode::Script, "nvdimm write 0 4096 'a text'");
    assert_eq!(fake.done, ["6 bytes at 0x1000"]);
    let mut fake = Fake { no_nvdimm: true, ..Fake::default() };
    let (text, _) = run_on(&mut fake, Mode::Script, "nvdimm");
    assert_eq!(text, "This machine has no persistent memory.\n");
}

/// A machine with some objects.
fn with_objects() -> Fake {
    let text = |text: &str| Some(text.to_string());
    let objects =
        [("notes", text("a\nb")), ("used", text("")), ("dir", None), ("dir/a", text("x"))];
    let objects = objects.map(|(path, text)| (path.to_string(), text));
    Fake { objects: Some(objects.into()), ..Fake::default() }
}

fn on_objects(line: &str) -> String {
    run_on(&mut with_objects(), Mode::Script, line).0
}

#[test]
fn objects_are_made_changed_and_shown() {
    let lines =
        "obj new n; obj put n two words; obj get n; obj show n; obj mv n m; obj rm m; obj get m";
    let shown = "two words\nText {\n    text: \"two words\",\n}\nobj: there is no such name\n";
    let (text, status) = run_on(&mut with_objects(), Mode::Script, lines);
    assert!(text.starts_with(shown), "{text}");
    assert_eq!(status, Outcome::Failure);
    assert_eq!(on_objects("obj get notes"), "a\nb\n");
    let used = "It is deleted when nobody has it open any more.\n";
    assert_eq!(on_objects("obj rm used"), used);
    let mut fake = with_objects();
    let lines = "obj new n; obj new large 8M; obj new --volatile v 8K; obj new --volatile";
    let (text, _) = run_on(&mut fake, Mode::Script, lines);
    let made = ["made n of 4 pages", "made large of 2048 pages", "made volatile v of 2 pages"];
    assert_eq!(fake.done, made);
    assert!(text.contains("PATH is missing"), "{text}");
    assert!(on_objects("obj new n huge").starts_with("obj: `huge` does not fit"));
    let taken = on_objects("obj link notes dir/a");
    assert!(taken.starts_with("obj: the name is taken"), "{taken}");
}

#[test]
fn objects_are_listed() {
    assert_eq!(
        on_objects("obj ls"),
        "  SIZE  VERSION  NAMES  TIER        OWNER  TYPE       NAME\n\
         16 KiB        7      1  persistent  shell  directory  dir\n\
         16 KiB        7      1  persistent  shell  Text       notes\n\
         16 KiB        7      1  persistent  shell  Text       used\n"
    );
    assert!(on_objects("obj ls dir").ends_with("Text  a\n"));
    assert!(on_objects("obj stat notes").contains("Text (000000000000f00d)"));
}

#[test]
fn what_becomes_of_volatile_objects_is_said_once() {
    let mut fake = Fake { volatile: true, ..with_objects() };
    let (text, _) = run_on(&mut fake, Mode::Script, "obj ls; obj ls dir; obj stat notes; pmem");
    assert_eq!(text.matches("lost when the machine is switched off").count(), 1, "{text}");
    assert!(text.contains("volatile  shell  Text       notes"), "{text}");
    assert!(text.contains("nothing: the objects lie in RAM"), "{text}");
    assert!(!on_objects("obj ls").contains("lost"));
}

#[test]
fn work_is_done_on_objects() {
    let lines = "obj put notes to be or not to be; obj search notes to be; obj count notes o";
    let told =
        "at byte 0\nat byte 13\n2 places in 18 bytes of text\n4 places in 18 bytes of text\n";
    assert_eq!(on_objects(lines), told);
    let many = on_objects(&format!("obj put notes {}; obj search notes aa", "a".repeat(150)));
    assert!(many.ends_with("149 places in 150 bytes of text\n(49 are not listed)\n"), "{many}");
    let reduced = "obj put notes aaaaaaaabbbbbbbb; obj reduce notes least; obj reduce notes sum";
    let told = "7016996765293437281 is the least of 2 words of text\n\
                14106333703424951235 is the sum of 2 words of text\n";
    assert_eq!(on_objects(reduced), told);
    assert_eq!(on_objects("obj reduce used greatest"), "there are no words\n");
    let refused = on_objects("obj search notes; obj reduce notes; obj reduce notes most");
    for said in ["1 to 256 bytes, not 0", "HOW is missing", "`most`"] {
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn the_pool_is_told_checked_and_made() {
    let told = on_objects("pmem");
    assert!(told.contains("3.9 MiB by 3 objects"), "{told}");
    assert_eq!(on_objects("pmem check"), "3 objects checked, nothing is damaged\n");
    let damage = vec!["this is damaged".to_string(), "that is".to_string()];
    let mut fake = Fake { damage, ..with_objects() };
    let (text, status) = run_on(&mut fake, Mode::Script, "pmem check");
    assert!(
        text.contains("this is damaged\nthat is\npmem: the pool is damaged in 2 places"),
        "{text}"
    );
    assert_eq!(status, Outcome::Failure);
    let refused = on_objects("pmem init");
    assert!(refused.contains("there is no pool: it is somebody else's"), "{refused}");
    for how in ["--force", "--empty"] {
        assert_eq!(on_objects(&format!("pmem init {how}")), "made a pool of 1 GiB\n");
    }
    assert!(on_objects("pmem check --force").contains("one argument too many"));
}

#[test]
fn a_machine_without_persistent_memory_has_no_objects() {
    for line in ["obj ls", "pmem", "pmem check"] {
        let mut fake = Fake { no_objects: true, ..Fake::default() };
        let (text, status) = run_on(&mut fake, Mode::Script, line);
        assert!(text.contains("no persistent memory: the machine has none"), "{text}");
        assert_eq!(status, Outcome::Failure);
    }
}

#[test]
fn nvdimm_says_what_it_misses() {
    let refused = "nvdimm: the memory is not armed: what is written would be lost\n";
    assert_eq!(complaint("nvdimm write 1 0 x"), refused);
    for (line, problem) in [
        ("nvdimm read", "RANGE is missing"),
        ("nvdimm read 0", "AT is missing"),
        ("nvdimm write 0 0", "TEXT is missing"),
        ("nvdimm read 0 0 x", "`x` is one argument too many"),
        ("nvdimm read 0 0xg", "`0xg` is not a number"),
        ("nvdimm erase", "it is one of read, write"),
    ] {
        assert!(complaint(line).contains(problem), "{line}: {}", complaint(line));
    }
}

#[test]
fn iommu_shows_units_devices_and_faults() {
    assert_eq!(
        output("iommu"),
        "\
UNIT        BITS  INTERRUPTS  TABLES  REFUSED  STATE
0xfed90000    39     1 entry  36 KiB       2+  translates
0xfed91000                                  0  its tables are of an unknown kind: drivers are trusted

DEVICE   REACHES
00:03.0    1 MiB
01:00.0    4 KiB

device 00:03.0 was kept from writing 0x1000 (no mapping)
"
    );
    let mut fake = Fake { no_iommu: true, ..Fake::default() };
    let (text, _) = run_on(&mut fake, Mode::Script, "iommu");
    assert_eq!(text, "This machine has no IOMMU that is used: drivers are trusted with DMA.\n");
}

#[test]
fn a_machine_whose_platform_server_does_not_run_says_so() {
    let mut fake = Fake { no_platform: true, ..Fake::default() };
    let (text, outcome) = run_on(&mut fake, Mode::Script, "lspci");
    assert_eq!(outcome, Outcome::Failure);
    assert!(text.starts_with("lspci: there is no service `platform` in this image"), "{text}");
}

/// A machine with a network, and the programs that the shell starts for it.
fn networked() -> Fake {
    let mut fake = Fake { network: true, ..Fake::with_share() };
    for name in ["ping", "fetch", "serve"] {
        let mut program = fake.programs[3].clone();
        program.name = name.into();
        fake.programs.push(program);
    }
    fake
}

#[test]
fn net_shows_interfaces_and_sockets() {
    let (text, outcome) = run_on(&mut networked(), Mode::Script, "net");
    assert_eq!(outcome, Outcome::Success);
    assert_eq!(
        text,
        "virtio-net: up, 52:54:00:12:34:56, MTU 1500, 1 restart\n\
         \x20 address   10.0.2.15/24 (DHCP)\n\
         \x20 address   fe80::5054:ff:fe12:3456/64 (link-local)\n\
         \x20 router    10.0.2.2\n\
         \x20 names     10.0.2.3\n\
         \x20 received  12 frames, 3.3 KiB\n\
         \x20 sent      1 frame, 342 B\n\
         \x20 dropped   2 wrong checksum, 1 for another card\n\
         \n\
         e1000e: no driver, 00:00:00:00:00:00, MTU 1500\n\
         \x20 received  0 frames, 0 B\n\
         \x20 sent      0 frames, 0 B\n\
         \n\
         REGION     SOCKET  LOCAL        REMOTE          STATE\n\
         net-serve  TCP     10.0.2.15:7  10.0.2.2:40000  ESTABLISHED\n"
    );
}

#[test]
fn names_are_resolved() {
    let (text, outcome) = run_on(&mut networked(), Mode::Script, "resolve d3os.example");
    assert_eq!((text.as_str(), outcome), ("192.0.2.1\n", Outcome::Success));
    let (text, outcome) = run_on(&mut networked(), Mode::Script, "resolve nowhere");
    let said = "resolve: there is no host of this name\n";
    assert_eq!((text.as_str(), outcome), (said, Outcome::Failure));
    let (text, _) = run_on(&mut Fake::default(), Mode::Script, "resolve nowhere");
    assert!(text.starts_with("resolve: there is no service `net` in this image"), "{text}");
}

#[test]
fn network_programs_get_their_arguments() {
    let spawned = |line: &str| {
        let mut fake = networked();
        assert_eq!(run_on(&mut fake, Mode::Script, line).1, Outcome::Success, "{line}");
        fake.done.first().cloned().unwrap_or_default()
    };
    assert_eq!(spawned("ping 10.0.2.2"), r#"spawn ping ["10.0.2.2"] Foreground"#);
    assert_eq!(spawned("ping -n 9 host"), r#"spawn ping ["host", "9"] Foreground"#);
    assert_eq!(spawned("serve &"), "spawn serve [] Background");
    assert_eq!(spawned("serve 80"), r#"spawn serve ["80"] Foreground"#);
    let fetched = r#"spawn fetch ["--count", "--limit", "99", "http://a/"] Foreground"#;
    assert_eq!(spawned("fetch --limit 99 http://a/ count"), fetched);
    assert_eq!(spawned("fetch http://a/"), r#"spawn fetch ["http://a/"] Foreground"#);
    let kept = r#"spawn fetch ["-o", "d/f", "http://a/"] Foreground"#;
    assert_eq!(spawned("fetch -o d/f http://a/"), kept);
}

#[test]
fn files_of_the_host_are_listed_shown_and_changed() {
    let mut fake = Fake::with_share();
    let mut run = |line: &str| {
        fake.output.clear();
        run_on(&mut fake, Mode::Script, line)
    };
    let listed = "\
\x20  SIZE  CHANGED (UTC)        KIND  NAME
1.9 KiB  2026-11-23 16:50:31  file  a
    0 B  2026-11-23 16:50:31  file  b
";
    assert_eq!(run("share ls sub").0, listed);
    assert!(run("share ls").0.contains("directory  sub"));
    assert_eq!(run("share get note.txt").0, "hello\n [2Jworld\n");
    assert_eq!(run("share put new 'two  words' more; share get new").0, "two  words more\n");
    assert_eq!(
        run("share mkdir d; share ls d"),
        ("SIZE  CHANGED (UTC)  KIND  NAME\n".into(), Outcome::Success)
    );
    assert_eq!(run("share rm new").1, Outcome::Success);
    let missing = "share: no such file or directory (ENOENT)\n  `share ls` shows what is there\n";
    assert_eq!(run("share rm new"), (missing.into(), Outcome::Failure));
    assert!(run("share get sub").0.contains("EISDIR"));
}

#[test]
fn what_shares_need_is_said() {
    let said = |line: &str| {
        let mut fake = Fake { no_share: true, ..networked() };
        let (text, outcome) = run_on(&mut fake, Mode::Script, line);
        assert_eq!(outcome, Outcome::Failure, "{line}");
        text
    };
    for line in ["share ls", "fetch -o a http://a/"] {
        assert!(said(line).contains("the host shares no directory with this machine"), "{line}");
        assert!(said(line).contains("cargo xtask qemu --share DIR"), "{line}");
    }
    assert!(said("share rm a b").contains("`b` is one argument too many"));
    let mut fake = Fake::with_share();
    let (text, _) = run_on(&mut fake, Mode::Script, "share get");
    assert!(text.contains("PATH is missing"), "{text}");
}

#[test]
fn screenshot_shows_the_text_of_the_screen() {
    assert_eq!(
        output("screenshot"),
        "\
1024 by 768 pixels, 126 columns, 45 lines, console 2 of 4
│ d3os> ps
│
│
│  d3os  1  2
"
    );
    let mut fake = Fake { no_screen: true, ..Fake::default() };
    let (text, outcome) = run_on(&mut fake, Mode::Script, "screenshot");
    assert_eq!((text.as_str(), outcome), ("screenshot: there is no screen\n", Outcome::Failure));
}

#[test]
fn the_keyboards_layout_is_told_and_chosen() {
    assert_eq!(output("keyboard"), "layout `us`\n");
    let mut fake = Fake::default();
    run_on(&mut fake, Mode::Script, "keyboard de");
    assert_eq!(fake.done, ["layout de"]);
    assert!(complaint("keyboard fr").contains("us"));
    let mut fake = Fake { no_screen: true, ..Fake::default() };
    let (text, _) = run_on(&mut fake, Mode::Script, "keyboard");
    assert_eq!(text, "keyboard: this machine has no keyboard controller\n");
}

#[test]
fn an_object_is_shown_by_pages_entries_and_pointers() {
    assert_eq!(
        on_objects("obj map notes"),
        "    AT    SIZE  PAGES                   TAKEN\n\
         0x1000   4 KiB  header\n\
         0x2000   4 KiB  large block             1 of 1\n\
         0x3000   4 KiB  small blocks            2 of 63, 64 B each\n\
         0x4000  16 KiB  free\n\
         0x8000   4 KiB  table of other objects  1\n\
         \n\
         ENTRY  RIGHTS  OBJECT\n\
         \u{20}   1  r       00000000000000000000000000000005\n\
         \n\
         \u{20}   AT  LEADS TO           POINTER\n\
         0x2040  0x3040             text\n\
         0x2040  0x2040 by entry 1  other\n"
    );
}

#[test]
fn a_text_is_edited_on_the_terminal() {
    let mode = Mode::Interactive { width: 40, height: 6 };
    let edited = |typed: &str, lines: &str| {
        let typed = typed.bytes().map(|byte| InputEvent::Bytes(vec![byte])).collect();
        let mut fake = Fake { typed, ..with_objects() };
        let (shown, _) = run_on(&mut fake, mode, lines);
        (fake.objects.expect("there are some"), shown)
    };
    let (objects, shown) = edited("x\r\x13\x11", "obj edit notes");
    assert_eq!(objects["notes"].as_deref(), Some("x\na\nb"));
    assert!(shown.contains("saved"), "{shown:?}");
    let (objects, _) = edited("new\x13\x11", "obj edit dir/b");
    assert_eq!(objects["dir/b"].as_deref(), Some("new"));
    let (objects, _) = edited("new\x11\x11", "obj edit dir/b");
    assert_eq!(objects.get("dir/b"), None, "it was not saved");
    let (_, shown) = edited("\x11", "obj edit dir");
    assert!(shown.contains("it is a directory"), "{shown:?}");
    assert!(on_objects("obj edit notes").contains("that needs a terminal"));
}

#[test]
fn objects_are_made_of_the_hosts_files_and_files_of_objects() {
    let mut fake = Fake { objects: with_objects().objects, ..Fake::with_share() };
    let mut run = |line: &str| {
        fake.output.clear();
        run_on(&mut fake, Mode::Script, line).0
    };
    assert_eq!(run("obj import in"), "in/note.txt: 16 B\nin/sub/a: 1.9 KiB\nin/sub/b: 0 B\n");
    assert_eq!(run("obj get in/note.txt"), "hello\n [2Jworld\n");
    assert_eq!(run("obj count in/sub/b x; obj ls in"), {
        let listed = run("obj ls in");
        format!("0 places in 0 bytes of text\n{listed}")
    });
    let taken = run("obj import in/note.txt note.txt");
    assert!(taken.starts_with("obj: the name is taken"), "{taken}");
    assert!(run("obj import x none").contains("ENOENT"));
    assert_eq!(run("obj import one sub/a"), "one: 1.9 KiB\n");
    assert_eq!(run("obj export in/note.txt"), "note.txt: 16 B\n");
    assert_eq!(run("obj export dir out; share get out/a"), "out/a: 1 B\nx\n");
    assert!(run("obj export none").contains("there is no such name"));
    let left = fake.objects.expect("there are some");
    assert!(left.keys().all(|path| !path.contains(".part")), "{left:?}");
}
